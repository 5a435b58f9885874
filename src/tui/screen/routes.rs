//! Where one can go: each screen's line, with what it must be told and what opens it. The only file that knows every screen.

use super::{
    Cx, Opened, Screen, accounts, activity, agents, approval, enable, export, first_run, grant_from_file, home,
    inspect, networks, revoke, scan, send, settings, wizard,
};
use crate::{tui::data::AccountId, wallet::usecase::revoke::RevokeAction};

/// What opens a screen answers with it, or, where it may have to say why not, with [`Opened`].
trait Opens {
    fn opened(self) -> Opened;
}

impl Opens for Box<dyn Screen> {
    fn opened(self) -> Opened {
        Ok(self)
    }
}

impl Opens for Opened {
    fn opened(self) -> Opened {
        self
    }
}

/// One line a screen: `Destination { what it is told } => what opens it`.
macro_rules! routes {
    ($($screen:ident $({ $($told:ident: $kind:ty),+ })? => $open:path,)*) => {
        /// A screen to go to, as data.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Destination {
            $($screen $({ $($told: $kind),+ })?,)*
        }

        pub fn open(to: Destination, cx: &mut Cx<'_>) -> Opened {
            match to {
                $(Destination::$screen $({ $($told),+ })? => $open($($($told,)+)? cx).opened(),)*
            }
        }
    };
}

routes! {
    Accounts => accounts::open,
    Activity => activity::open,
    Agents => agents::open,
    Approval { networks: Vec<String> } => approval::open,
    Enable { keys: Vec<String> } => enable::open,
    Export { key: String } => export::open,
    GrantFromFile { account: Option<AccountId> } => grant_from_file::open,
    Inspect { key: String } => inspect::open,
    Networks => networks::open,
    Revoke { keys: Vec<String> } => revoke::open,
    RevokeAll { account: Option<AccountId>, action: RevokeAction } => revoke::open_all,
    Scan { account: Option<AccountId> } => scan::open,
    SendAsKey { key: String } => send::open_as_key,
    SendAsOwner { account: AccountId } => send::open_as_owner,
    Settings => settings::open,
    Wizard { account: Option<AccountId> } => wizard::open,
}

/// What is beneath all others.
pub fn root(has_home: bool) -> Box<dyn Screen> {
    if has_home { Box::new(home::State::default()) } else { Box::new(first_run::State::default()) }
}
