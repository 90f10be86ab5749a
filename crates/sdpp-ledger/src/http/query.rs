//! Query parameters, strictly: each once, in any order, and no others.

use percent_encoding::percent_decode_str;

use super::problem::{Code, Problem};

/// The values of these parameters, in the order of their names.
pub(super) fn parameters<const N: usize>(query: Option<&str>, names: [&str; N]) -> Result<[String; N], Problem> {
    let mut found: [Option<String>; N] = [const { None }; N];
    let pairs = query.unwrap_or_default().split('&').filter(|_| query.is_some());
    for pair in pairs {
        let (name, value) = pair.split_once('=').ok_or(Code::BadRequest)?;
        let slot = names.iter().position(|known| *known == name).and_then(|at| found.get_mut(at));
        let slot = slot.filter(|slot| slot.is_none()).ok_or(Code::BadRequest)?;
        let value = percent_decode_str(value).decode_utf8().map_err(|_| Code::BadRequest)?;
        *slot = Some(value.into_owned());
    }
    if found.iter().any(Option::is_none) {
        return Err(Code::BadRequest.into());
    }
    Ok(found.map(Option::unwrap_or_default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_stands_once() {
        let read = |query| parameters(Some(query), ["a", "b"]).ok();
        let both = Some(["1".to_owned(), "x@y".to_owned()]);
        assert_eq!(read("a=1&b=x@y"), both);
        assert_eq!(read("b=x%40y&a=1"), both);
        for bad in ["", "a=1", "a=1&b=2&a=1", "a=1&a=1", "a=1&b=2&c=3", "a=1&b", "a=1&&b=2", "a=1&b=2&", "a=1&b=%ff"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(parameters(None, []).is_ok());
        assert!(parameters(None, ["a"]).is_err());
    }
}
