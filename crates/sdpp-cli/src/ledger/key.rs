//! `sdpp ledger key`.

use std::process::ExitCode;

use serde_json::json;

use super::show::Out;
use super::{Failure, station};
use crate::home::{Home, Role};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose key.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    /// Name for a ledger or a witness that has none yet; it is for ever.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    out: Out,
}

/// Shows who a role is.
pub(super) fn run(home: &Home, args: &Args) -> Result<ExitCode, Failure> {
    let role = home.role(args.role)?;
    let key = role.key()?;
    let address = match args.role {
        Role::Ledger => Some(station::LEDGER),
        Role::Witness => Some(station::WITNESS),
        Role::Buyer | Role::Seller | Role::Issuer => None,
    };
    let verifier = match address {
        Some(address) => Some(station::name((args.role, &role, &key), args.name.as_deref(), address)?.to_string()),
        None if args.name.is_some() => return Err("only a ledger and a witness have names".into()),
        None => None,
    };
    let (account, did) = (key.public().to_string(), key.public().did());
    let mut lines = format!("account   {account}\ndid       {did}");
    if let Some(verifier) = &verifier {
        lines.push_str(&format!("\nverifier  {verifier}"));
    }
    args.out
        .tell(&lines, &json!({ "role": args.role.to_string(), "account": account, "did": did, "verifier": verifier }));
    Ok(ExitCode::SUCCESS)
}
