//! `sdpp key show`.

use std::process::ExitCode;

use clap::ValueEnum as _;
use sdpp_proto::identity::PublicKey;
use serde_json::json;

use super::qr;
use super::ring::{self, KEY};
use crate::home::{Failure, Home, Role};
use crate::ledger::show::Out;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Whose key, which is made if there is none; all that there are if not given.
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Option<Role>,
    /// Draw the code that a telephone reads: of the key, or of its address.
    #[arg(long, requires = "role")]
    qr: bool,
    /// Where the role sells: HOST:PORT or HOST:PORT/TOPIC, for the address sdpp://KEY@HOST:PORT/TOPIC.
    #[arg(long, value_name = "HOST:PORT/TOPIC", requires = "role", value_parser = place)]
    uri: Option<String>,
    #[command(flatten)]
    out: Out,
}

/// Shows who the roles of a home are.
pub(super) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    if let Some(role) = args.role {
        let folder = home.role(role)?;
        if folder.key_file(KEY)?.is_none() {
            folder.key()?;
        }
        one(home, role, args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = false;
    for role in Role::value_variants() {
        // Looking makes no folders.
        if home.file(&role.to_string()).join(KEY).exists() {
            if shown && !args.out.is_json() {
                crate::say("");
            }
            one(home, *role, args)?;
            shown = true;
        }
    }
    if !shown {
        eprintln!("there are no keys in {} yet: each role makes its own on first use", home.file("").display());
    }
    Ok(ExitCode::SUCCESS)
}

fn one(home: &Home, role: Role, args: &Args) -> Result<(), Failure> {
    let path = home.file(&role.to_string()).join(KEY);
    let file = ring::read(&path)?.ok_or_else(|| format!("{} is gone again", path.display()))?;
    let (key, locked) = (file.public(), file.is_locked());
    let uri = args.uri.as_ref().map(|place| address(&key, place));
    let code = if args.qr { Some(qr::lines(uri.as_deref().unwrap_or(&key.to_string()))?) } else { None };
    let passphrase = if locked { "yes" } else { "no: set one with `sdpp key passphrase`" };
    let mut people = format!(
        "role        {role}\nkey         {key}\ndid         {}\nfile        {}\npassphrase  {passphrase}",
        key.did(),
        path.display()
    );
    if let Some(uri) = &uri {
        people.push_str(&format!("\naddress     {uri}"));
    }
    if let Some(code) = &code {
        people.push_str(&format!("\n{}", qr::picture(code)));
    }
    let programs = json!({
        "role": role.to_string(), "key": key.to_string(), "did": key.did(), "file": path.display().to_string(),
        "passphrase": locked, "uri": uri, "qr": code,
    });
    args.out.tell(&people, &programs);
    Ok(())
}

fn address(key: &PublicKey, place: &str) -> String {
    format!("sdpp://{key}@{place}")
}

/// HOST:PORT, or HOST:PORT/TOPIC.
fn place(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is not HOST:PORT/TOPIC, for example data.example.org:7411/weather");
    let (at, topic) = text.split_once('/').unwrap_or((text, ""));
    let (host, port) = at.rsplit_once(':').ok_or_else(wrong)?;
    let plain = |part: &str| part.chars().all(|c| c.is_ascii_graphic() && !"@?#\\\"<>".contains(c));
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let sound =
        !host.is_empty() && digits && port.parse::<u16>().is_ok_and(|port| port > 0) && plain(host) && plain(topic);
    if sound { Ok(text.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_host_port_and_topic() {
        for good in ["example.org:7411", "example.org:7411/weather/seattle", "[::1]:7411/a", "127.0.0.1:1/"] {
            assert_eq!(place(good), Ok(good.to_owned()));
        }
        for bad in ["", "example.org", ":7411", "a:0/b", "a:65536", "a:+1", "u@a:1/b", "a:1/b c", "a b:1", "a:/b"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
