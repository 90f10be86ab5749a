//! `sdpp orders restored`: says that the journals were put back from a backup.

use std::process::ExitCode;

use sdpp::journal::Journal;
use serde_json::json;

use crate::buy::journals::Journals;
use crate::exit::{Exit, failed};
use crate::home::{Home, Role, is_busy};
use crate::ledger::Failure;
use crate::ledger::show::Out;
use crate::sell::durability;

/// Says that a role's journals were put back from a backup: what was ordered until then is only settled, by
/// what the other side can prove, and never sold or paid again.
#[derive(clap::Args)]
pub(super) struct RestoredArgs {
    /// Whose journals.
    #[arg(long = "as", value_enum, default_value = "buyer", value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    out: Out,
}

/// Declares it, for all orders that the journals hold.
pub(super) async fn run(home: &Home, args: &RestoredArgs) -> Result<ExitCode, Failure> {
    let busy = |name: &str| {
        failed(Exit::InUse, format!("a running {} has {name}: stop it first, it works with what was lost", args.role))
    };
    let orders = match args.role {
        Role::Buyer => {
            let journals = Journals::open(home)?;
            if let Some(name) = journals.busy.first() {
                return Err(busy(name));
            }
            journals.declare_restored().await?
        }
        Role::Seller => {
            let role = home.role(Role::Seller)?;
            if is_busy(&role.file("journal.db")) {
                return Err(busy("journal"));
            }
            let store = role.store("journal", durability(home.config()?.seller.journal))?;
            Journal::start(store)?.declare_restored().await?
        }
        Role::Ledger | Role::Witness | Role::Issuer => {
            return Err(failed(Exit::Usage, "only a buyer and a seller have orders; see docs/ledger.md for ledgers"));
        }
    };
    let line = format!("{orders} orders are settled by what the other side proves, and go on no further");
    args.out.tell(&line, &json!({ "role": args.role.to_string(), "orders": orders }));
    Ok(ExitCode::SUCCESS)
}
