//! The chain that is used: its node, its contracts, the accounts there.

use crate::config::Config;
use crate::evm::{Chain, Looked, look as look_at};
use crate::home::{Home, Role};

use super::Finding;

/// Asks the node as a buyer would, without any key.
pub(super) async fn look(home: &Home, chain: &Chain, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (check, looked) in look_at(chain, config).await {
        findings.push(match looked {
            Looked::Good(text) => Finding::good(check, text),
            Looked::Bad(text) => Finding::bad(check, text),
        });
    }
    for role in [Role::Buyer, Role::Seller] {
        match crate::evm::wallet::account_of(home, role) {
            Ok(None) => {}
            Ok(Some(account)) => findings.push(purse(chain, config, role, &account).await),
            Err(error) => findings.push(Finding::bad("wallet", error.to_string())),
        }
    }
    findings
}

/// Whether an account can pay for gas.
async fn purse(chain: &Chain, config: &Config, role: Role, account: &str) -> Finding {
    match crate::evm::wallet::coins(chain, config, account).await {
        Ok(None) => Finding::warning("wallet", format!("the {role}'s {account} has no coins: it cannot pay for gas")),
        Ok(Some(coins)) => Finding::good("wallet", format!("the {role}'s {account} has {coins}")),
        Err(error) => Finding::bad("wallet", error.to_string()),
    }
}
