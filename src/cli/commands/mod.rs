//! The commands, one a file: its arguments, what it does, its text and its JSON.

#![allow(clippy::unused_async, reason = "commands are run alike, whether or not they have something to wait for")]

/// A list of commands, written once: the enum that the arguments are read into, and the call of the one that was named. What
/// help says about a command stands at its arguments.
macro_rules! commands {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $variant:ident($arguments:ty),)+ }) => {
        $(#[$doc])*
        #[derive(Debug, clap::Subcommand)]
        pub enum $name {
            $($(#[$attribute])* $variant($arguments),)+
        }

        impl $name {
            pub async fn run(
                self,
                context: &mut $crate::cli::context::Context,
            ) -> $crate::wallet::error::Result<$crate::cli::context::Done> {
                match self {
                    $(Self::$variant(arguments) => arguments.run(context).await,)+
                }
            }
        }
    };
}

mod account;
mod agent;
mod complete;
mod completions;
mod demo;
mod doctor;
mod grant;
mod init;
mod inspect;
mod key;
mod man;
mod network;
mod revoke;
mod sandbox;
mod send;
mod status;
mod vault;

// In the order in which help lists them.
commands! {
    Command {
        Init(init::InitArgs),
        Demo(demo::DemoArgs),
        #[command(subcommand)] Sandbox(sandbox::SandboxCommand),
        #[command(subcommand)] Network(network::NetworkCommand),
        #[command(subcommand)] Account(account::AccountCommand),
        Grant(grant::GrantArgs),
        #[command(subcommand)] Key(key::KeyCommand),
        #[command(subcommand)] Agent(agent::AgentCommand),
        Inspect(inspect::InspectArgs),
        Send(send::SendArgs),
        Status(status::StatusArgs),
        Revoke(revoke::RevokeArgs),
        Complete(complete::CompleteArgs),
        #[command(subcommand)] Vault(vault::VaultCommand),
        Doctor(doctor::DoctorArgs),
        Completions(completions::CompletionsArgs),
        Man(man::ManArgs),
    }
}
