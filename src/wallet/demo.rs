//! The whole story on a sandbox of its own, unattended: what a newcomer runs first, and what the README shows.

use alloy::{
    primitives::{Address, U256},
    sol_types::SolCall,
};
use serde::Serialize;

use super::{
    Wallet,
    error::{Class, Error, Result},
    home::Home,
    policy::Policy,
    sandbox_profile::{DEMO, NAME, mint_policy, mintCall, transferCall},
    usecase::{
        account::OwnerSource,
        grant::{Accepted, GrantIntent, Holder},
        revoke::RevokeIntent,
        send::{Actor, SendIntent},
    },
};
use crate::{policy::sentence, protocol::Call};

/// One step of the story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scene {
    pub title: String,
    /// What happened, a line each.
    pub lines: Vec<String>,
    /// The refusal's code, where the point of the step is that something is refused.
    pub refused: Option<String>,
}

/// Tells the story in a folder of its own that is gone afterwards; `tell` hears each step as it happens.
pub async fn story(tell: &mut (dyn FnMut(&Scene) + Send)) -> Result<Vec<Scene>> {
    let folder = std::env::temp_dir().join(format!("keyleash-demo-{}-{}", std::process::id(), super::short_id()?));
    let told = {
        let wallet = Wallet::init_sandbox(&Home::at(&folder))?;
        Teller { wallet, scenes: Vec::new(), tell }.all().await
    };
    // A leftover folder holds nothing but play keys.
    let _ = std::fs::remove_dir_all(&folder);
    told
}

struct Teller<'a> {
    wallet: Wallet,
    scenes: Vec<Scene>,
    tell: &'a mut (dyn FnMut(&Scene) + Send),
}

const TREASURY: &str = "treasury";

impl Teller<'_> {
    async fn all(mut self) -> Result<Vec<Scene>> {
        let account = self.owner_and_account().await?;
        self.approval(account).await?;
        self.first_use(account).await?;
        self.inside_and_outside(account).await?;
        self.batch(account).await?;
        self.time_passes().await?;
        self.revoke_active(account).await?;
        self.revoke_pending(account).await?;
        Ok(self.scenes)
    }

    fn scene(&mut self, title: &str, lines: Vec<String>, refused: Option<String>) {
        let scene = Scene { title: title.to_owned(), lines, refused };
        (self.tell)(&scene);
        self.scenes.push(scene);
    }

    async fn owner_and_account(&mut self) -> Result<Address> {
        let view = self.wallet.new_account(TREASURY, NAME, OwnerSource::New, None, U256::ZERO).await?;
        self.wallet.controls()?.fund(view.address, U256::from(1_000_000_000_000_000_000_u128))?;
        self.scene(
            "An owner and an account",
            vec![
                format!("owner {} (a fresh play key)", view.owner),
                format!("account {} - an address; there is no contract yet, and nothing was sent", view.address),
            ],
            None,
        );
        Ok(view.address)
    }

    async fn approval(&mut self, account: Address) -> Result<()> {
        let agent = self.wallet.new_agent("mint-bot")?;
        self.scene(
            "The bot makes its own key",
            vec![format!("session key {} - the private half stays with the bot", agent.address)],
            None,
        );
        let granted = self
            .grant(&mint_policy("mint-bot", account, "24h", &DEMO.sponsor.to_string()), Holder::Agent(agent.address))
            .await?;
        let mut lines: Vec<String> = granted.key.sentences.clone();
        lines.push(format!("signed: fingerprint of the scope {}", granted.merkle_root));
        lines.push("nothing was sent and nothing was paid".into());
        self.scene("The owner signs an approval", lines, None);
        Ok(())
    }

    async fn grant(&self, policy: &str, holder: Holder) -> Result<super::usecase::grant::Granted> {
        let policy = Policy::parse(policy, &|name| Err(Error::usage("policy.file", format!("{name} is not there"))))?;
        let intent = GrantIntent { account: TREASURY.into(), policy, holder, label: None };
        let plan = self.wallet.plan_grant(intent).await?;
        self.wallet.execute_grant(plan, &Accepted::new()).await
    }

    async fn first_use(&mut self, account: Address) -> Result<()> {
        let lines = self.sent("mint-bot", vec![mint(account)], false).await?;
        self.scene("First use: deploys the account, enables the key and mints, in one operation", lines, None);
        Ok(())
    }

    async fn inside_and_outside(&mut self, account: Address) -> Result<()> {
        let lines = self.sent("mint-bot", vec![mint(account)], false).await?;
        self.scene("A second call inside the scope", lines, None);
        let stranger = Address::repeat_byte(0x66);
        let outside = [
            ("Outside: another contract", Call { to: DEMO.token, ..mint(account) }),
            (
                "Outside: another function",
                Call { data: transferCall { to: stranger, value: U256::ONE }.abi_encode().into(), ..mint(account) },
            ),
            ("Outside: another receiver", mint(stranger)),
            (
                "Outside: coins along with the call",
                Call { value: U256::from(10_000_000_000_000_000_u64), ..mint(account) },
            ),
        ];
        for (title, call) in outside {
            self.refused("mint-bot", title, call).await?;
        }
        Ok(())
    }

    async fn batch(&mut self, account: Address) -> Result<()> {
        let call = |to| vec![mint(to), mint(to)];
        let plan = self.wallet.plan_send(intent("mint-bot", call(account), true)).await;
        let Err(denied) = plan else {
            return Err(broken("a batch passed although no approval opened executeBatch"));
        };
        self.scene("A batch needs an approval of its own", vec![denied.message.clone()], Some(denied.code));
        let policy = format!(
            "selector = [\"execute\", \"executeBatch\"]\n{}",
            mint_policy("batch-bot", account, "24h", &DEMO.sponsor.to_string())
        );
        self.grant(&policy, Holder::NewKey).await?;
        let lines = self.sent("batch-bot", call(account), true).await?;
        self.scene("With it, two mints in one operation", lines, None);
        Ok(())
    }

    async fn time_passes(&mut self) -> Result<()> {
        let account = self.wallet.account(TREASURY).await?.address;
        self.grant(&mint_policy("hour-bot", account, "1h", &DEMO.sponsor.to_string()), Holder::NewKey).await?;
        let lines = self.sent("hour-bot", vec![mint(account)], false).await?;
        self.scene("A key for one hour", lines, None);
        let now = self.wallet.controls()?.advance(2 * 60 * 60)?;
        self.scene("Two hours pass", vec![format!("the chain says it is {}", sentence::time(now))], None);
        self.refused("hour-bot", "The key has ended", mint(account)).await
    }

    async fn revoke_active(&mut self, account: Address) -> Result<()> {
        self.revoke("mint-bot", "The owner takes the bot's key back").await?;
        self.refused("mint-bot", "The bot tries again", mint(account)).await
    }

    async fn revoke_pending(&mut self, account: Address) -> Result<()> {
        self.grant(&mint_policy("late-bot", account, "24h", &DEMO.sponsor.to_string()), Holder::NewKey).await?;
        self.scene(
            "A key that was signed but never used",
            vec!["disabling it would succeed and do nothing: its holder could enable it afterwards".into()],
            None,
        );
        self.revoke("late-bot", "The owner revokes it by consuming its nonce").await?;
        self.refused("late-bot", "Its holder tries", mint(account)).await
    }

    async fn revoke(&mut self, key: &str, title: &str) -> Result<()> {
        let plan = self.wallet.plan_revoke(RevokeIntent::keys(TREASURY, &[key.to_owned()])).await?;
        let revoked = self.wallet.execute_revoke(plan, &()).await?;
        let mut lines: Vec<String> = revoked.plan.iter().map(|s| s.effect.clone()).collect();
        let Some(proof) = &revoked.proof else { return Err(broken("a revocation was not proven")) };
        lines.push(format!("proof: its own approval, replayed at block {}, is refused: {}", proof.block, proof.replay));
        self.scene(title, lines, None);
        Ok(())
    }

    async fn sent(&self, key: &str, calls: Vec<Call>, batch: bool) -> Result<Vec<String>> {
        let plan = self.wallet.plan_send(intent(key, calls, batch)).await?;
        let payer = plan.prepared.paymaster.map_or_else(|| "the account".to_owned(), |p| format!("sponsor {p}"));
        let outcome = self.wallet.execute_send(plan, true, &()).await?;
        if outcome.success != Some(true) {
            return Err(broken("an operation inside the scope failed"));
        }
        Ok(vec![format!(
            "operation {} in block {}: {} gas, paid by {payer}",
            outcome.user_op_hash,
            outcome.block.unwrap_or_default(),
            outcome.gas_used.unwrap_or_default()
        )])
    }

    async fn refused(&mut self, key: &str, title: &str, call: Call) -> Result<()> {
        match self.wallet.plan_send(intent(key, vec![call], false)).await {
            Err(error) if error.class == Class::Denied => {
                self.scene(title, vec![error.message.clone(), "nothing was sent".into()], Some(error.code));
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => Err(broken("a call outside the scope was allowed")),
        }
    }
}

fn mint(to: Address) -> Call {
    Call { to: DEMO.nft, value: U256::ZERO, data: mintCall { to }.abi_encode().into() }
}

fn intent(key: &str, calls: Vec<Call>, batch: bool) -> SendIntent {
    SendIntent { actor: Actor::Key(key.to_owned()), calls, batch, max_cost: None }
}

/// The story tells what the program does; when it does something else, that is a fault and not a story.
fn broken(what: &str) -> Error {
    Error::failed("demo.broken", format!("the demo did not go as it should: {what}"))
}
