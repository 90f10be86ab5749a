//! The URL of a node. It often carries a key: in its path, its query or before the host. Nobody sees more of it than where the
//! node is.

use std::fmt;

/// Parts of a URL from so many characters on may be a key.
const SECRET_MIN: usize = 5;

/// Where a node is. It is shown without what may be secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rpc(String);

impl Rpc {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// All of it, for whoever connects.
    pub(super) fn url(&self) -> &str {
        &self.0
    }

    /// A text of others without what is secret in the URL: errors of clients tell it all.
    pub(super) fn hide(&self, text: &str) -> String {
        let (_, rest) = self.0.split_once("://").unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let login = authority.rsplit_once('@').map_or("", |(login, _)| login);
        let parts = login.split(':').chain(path.split(['/', '?', '#', '&', '=']));
        let secrets = parts.filter(|part| part.len() >= SECRET_MIN);
        secrets.fold(cut_urls(text), |text, secret| text.replace(secret, "…"))
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The scheme, the host and the port of a URL.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "the node".to_owned() };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    // A password with a slash in it looks like a port.
    let is_host = port.bytes().all(|byte| byte.is_ascii_digit()) || host.ends_with(']');
    if is_host { format!("{scheme}://{host}") } else { format!("{scheme}://…") }
}

/// A text whose URLs are cut to what may be shown of them.
fn cut_urls(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, ')' | '(' | '"' | '\'' | '<' | '>' | ',');
    let pieces = text.split_inclusive(ends);
    pieces.fold(String::new(), |done, piece| {
        let (word, end) = piece.split_at(piece.trim_end_matches(ends).len());
        let cut = if word.contains("://") { shown(word) } else { word.to_owned() };
        done + &cut + end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_a_node_is_can_be_seen() {
        for (url, seen) in [
            ("https://rpc.example/v3/0123456789abcdef", "https://rpc.example"),
            ("https://name:secret-word@rpc.example:8545/?key=0123456789abcdef", "https://rpc.example:8545"),
            ("http://[::1]:8545/0123456789abcdef", "http://[::1]:8545"),
            ("http://[::1]", "http://[::1]"),
            ("http://name:secret/word@rpc.example", "http://…"),
            ("0123456789abcdef", "the node"),
        ] {
            assert_eq!(Rpc::new(url).to_string(), seen);
            assert_eq!(format!("{:?}", Rpc::new(url)), seen);
        }
    }

    #[test]
    fn errors_of_others_tell_no_more() {
        let rpc = Rpc::new("https://name:secret-word@rpc.example/v3/0123456789abcdef?key=another-one");
        let text = "error sending request for url (https://rpc.example/v3/0123456789abcdef?key=another-one), as name";
        assert_eq!(rpc.hide(text), "error sending request for url (https://rpc.example), as name");
        assert_eq!(rpc.hide("no such key: 0123456789abcdef of secret-word"), "no such key: … of …");
        assert_eq!(rpc.hide("at  http://a/b"), "at  http://a");
    }
}
