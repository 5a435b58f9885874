//! How an operation of the owner's is to be sent.

use clap::{Args, ValueEnum};

use crate::wallet::submit::routes::RoutePreference;

#[derive(Debug, Args)]
pub struct RouteArgs {
    /// How it is sent
    #[arg(long, value_enum, default_value = "auto")]
    via: ViaChoice,
    /// Print the calls for somebody else to send; send nothing
    #[arg(long, conflicts_with_all = ["via", "unsigned", "dry_run"])]
    pub print: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ViaChoice {
    /// The first that works: sponsor, bundler, the owner's own transaction
    Auto,
    /// The network's bundler only
    Bundler,
    /// A transaction of the owner's own address
    Owner,
    /// Owner EOA calls EntryPoint.handleOps directly
    HandleOps,
}

impl RouteArgs {
    pub const fn preference(&self) -> RoutePreference {
        match (self.print, self.via) {
            (true, _) => RoutePreference::Print,
            (_, ViaChoice::Auto) => RoutePreference::Auto,
            (_, ViaChoice::Bundler) => RoutePreference::Bundler,
            (_, ViaChoice::Owner) => RoutePreference::Owner,
            (_, ViaChoice::HandleOps) => RoutePreference::HandleOps,
        }
    }
}
