mod add;
mod ls;
mod new;
mod owner;
mod rm;
mod show;

use crate::wallet::{coin::Coin, usecase::account::AccountView};

commands! {
    /// Accounts: new, existing, list
    AccountCommand {
        New(new::AccountNewArgs),
        Add(add::AccountAddArgs),
        Ls(ls::AccountLsArgs),
        Show(show::AccountShowArgs),
        Rm(rm::AccountRmArgs),
    }
}

fn text(account: &AccountView) -> String {
    let mut lines = vec![
        format!("{} on {} (chain {})", account.name, account.network, account.chain_id),
        format!("  address    {}", account.address),
        format!("  owner      {}{}", account.owner, if account.watch_only { " (watch-only)" } else { "" }),
        format!(
            "  kernel     {}{}",
            account.kernel_version.map_or_else(|| "unknown".into(), |k| k.to_string()),
            match account.deployed {
                Some(true) => "",
                Some(false) => " (not deployed yet: its first operation deploys it)",
                None => "",
            }
        ),
    ];
    match &account.unknown_because {
        Some(reason) => lines.push(format!("  the chain could not be read: {reason}")),
        None => {
            let coin = Coin::of(account.chain_id);
            let wei = |v: Option<alloy::primitives::U256>| coin.amount(v.unwrap_or_default());
            lines.push(format!("  balance    {}, deposit {}", wei(account.balance), wei(account.deposit)));
            lines.push(format!(
                "  nonces     last {}, invalidated through {}",
                account.last_nonce.as_deref().unwrap_or("0"),
                account.invalid_nonce.as_deref().unwrap_or("0")
            ));
            if account.paused == Some(true) {
                lines.push("  PAUSED     no session key can act".into());
            }
        }
    }
    lines.join("\n")
}
