//! Ready answers for the two stories that session keys are for: an app session and an automation watcher.

use alloy::primitives::Address;

use super::answers::{Answers, Ask, PermissionForm};
use crate::{policy::scope::Condition, wallet::sandbox_profile::DEMO};

/// What a new key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Session,
    Watcher,
    Blank,
    File,
}

impl Start {
    pub const ALL: [Self; 4] = [Self::Session, Self::Watcher, Self::Blank, Self::File];

    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Session => {
                ("An app session", "an app may mint its NFTs to you for a day, without asking you each time")
            }
            Self::Watcher => {
                ("An automation watcher", "a bot may repay your loan within limits, when it comes close to liquidation")
            }
            Self::Blank => ("Something else", "you choose the contract, the function and the limits"),
            Self::File => ("From a policy file", "a .toml or .json file with the whole policy"),
        }
    }

    /// Fills the form. On the sandbox its demo contracts are there; elsewhere the contract is the person's to name.
    pub fn fill(self, answers: &mut Answers) {
        match self {
            Self::Session => session(answers),
            Self::Watcher => watcher(answers),
            Self::Blank | Self::File => {}
        }
    }
}

fn session(answers: &mut Answers) {
    answers.who.fill(Ask::Label, "mint-session");
    answers.window.fill(Ask::After, "24h");
    if let Some(first) = answers.permissions.first_mut() {
        function(first, DEMO.nft, "mint(address to)");
        first.limit_argument(0, 0, Condition::Eq, "me");
    }
}

fn watcher(answers: &mut Answers) {
    answers.who.fill(Ask::Label, "loan-watcher");
    answers.window.fill(Ask::After, "30d");
    if let Some(first) = answers.permissions.first_mut() {
        function(first, DEMO.lending, "repay(address owner, uint256 amount)");
        first.limit_argument(0, 0, Condition::Eq, "me");
        first.limit_argument(1, 0, Condition::Lte, if answers.sandbox { "500" } else { "" });
        first.limits.fill(Ask::Runs, "24");
        first.limits.fill(Ask::Every, "1h");
    }
    if answers.sandbox {
        // What a condition cannot express - "only if it is at risk" - the contract checks.
        let mut second = PermissionForm::new(true);
        function(&mut second, DEMO.lending, "closeIfAtRisk()");
        answers.permissions.push(second);
    }
}

/// A function of a contract of the sandbox; elsewhere the same function of a contract that is not named yet.
fn function(permission: &mut PermissionForm, contract: Address, signature: &str) {
    if permission.choose_contract(contract) {
        permission.choose_function(signature);
    } else {
        permission.function.fill(Ask::Signature, signature);
    }
    permission.settle_function();
    permission.build_arguments();
}
