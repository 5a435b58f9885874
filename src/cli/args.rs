//! The arguments of every command. Names are a contract with scripts: add freely, do not rename.

use std::path::PathBuf;

use alloy::primitives::{Address, B256, U256};
use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValue};

use crate::wallet::records::model::PaymasterKind;

/// View, grant and revoke session keys of ZeroDev Kernel smart accounts.
#[derive(Debug, Parser)]
#[command(name = "keyleash", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Keep everything under this folder (also: KEYLEASH_HOME)
    #[arg(long, global = true, value_name = "DIR", env = "KEYLEASH_HOME", hide_env = true)]
    pub home: Option<PathBuf>,
    /// Which network, where there are several
    #[arg(long, global = true, value_name = "NAME")]
    pub network: Option<String>,
    /// Print exactly one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not ask before writing; needed where there is no terminal
    #[arg(long, global = true)]
    pub yes: bool,
    /// Where secrets are kept (at `init`; remembered)
    #[arg(long, global = true, value_name = "BACKEND")]
    pub vault: Option<VaultKind>,
    /// Read the vault's passphrase from this file's first line (`-` = standard input)
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<String>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Say more about what is going on
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VaultKind {
    /// The keyring of the operating system (the default)
    Keyring,
    /// Encrypted files (Ethereum keystore V3)
    File,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatChoice {
    /// @zerodev/sdk 4.x
    V4,
    /// @zerodev/session-key 5.x
    V5,
}

impl ValueEnum for PaymasterKind {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Erc7677, Self::Pimlico, Self::Zerodev]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a profile (non-interactive)
    Init {
        /// A chain inside this program, with play keys and an account to look at: no network, no funds
        #[arg(long, conflicts_with = "vault")]
        sandbox: bool,
    },
    /// The whole story on a sandbox of its own, unattended
    Demo,
    /// Only on a sandbox profile
    #[command(subcommand)]
    Sandbox(SandboxCommand),
    /// Networks: add, list, check
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Accounts: new, existing, list
    #[command(subcommand)]
    Account(AccountCommand),
    /// Sign an approval for a session key; sends nothing and costs nothing
    Grant(GrantArgs),
    /// Session keys on record
    #[command(subcommand)]
    Key(KeyCommand),
    /// Session keys you hold for other people's accounts
    #[command(subcommand)]
    Agent(AgentCommand),
    /// What a serialized approval allows, and who signed it; needs no profile
    Inspect(InspectArgs),
    /// Act as a session key within its scope, or as the owner
    Send(SendArgs),
    /// Follow a UserOperation again
    Status {
        /// Its hash, as `send` printed it
        hash: B256,
    },
    /// Revoke keys: plan, preview, execute, proof
    Revoke(RevokeArgs),
    /// Send an operation of the owner's that was signed elsewhere
    Complete {
        /// The file that --unsigned wrote
        file: PathBuf,
        /// The owner's signature, 65 bytes as hex
        #[arg(long, value_name = "FILE")]
        signature_file: PathBuf,
        /// Most the operation may cost
        #[arg(long, value_name = "AMOUNT")]
        max_cost: Option<String>,
    },
    /// Manage stored private keys (never prints them)
    #[command(subcommand)]
    Vault(VaultCommand),
    /// A redacted report of this installation
    Doctor,
    /// Completions for a shell
    Completions { shell: clap_complete::Shell },
    /// The manual page
    Man,
}

#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// A fresh chain, and the example account and keys anew
    Reset,
    /// Move the sandbox's time ahead, for example +1h
    Time {
        #[arg(value_name = "+DURATION")]
        ahead: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Add a network
    Add {
        name: String,
        #[arg(long, value_name = "N")]
        chain_id: u64,
        /// The node's URL
        #[arg(long, value_name = "URL", required_unless_present = "zerodev")]
        rpc: Option<String>,
        /// A second node of the chain, best another provider's: what the first says is compared with it
        #[arg(long, value_name = "URL")]
        second_rpc: Option<String>,
        /// The ERC-4337 bundler's URL
        #[arg(long, value_name = "URL")]
        bundler: Option<String>,
        /// The paymaster service's URL
        #[arg(long, value_name = "URL")]
        paymaster: Option<String>,
        /// How the paymaster service is asked
        #[arg(long, value_name = "KIND")]
        paymaster_kind: Option<PaymasterKind>,
        /// JSON the paymaster service wants with every request
        #[arg(long, value_name = "JSON")]
        paymaster_context: Option<String>,
        /// A ZeroDev project: fills in node, bundler and paymaster
        #[arg(long, value_name = "PROJECT_ID", conflicts_with_all = ["rpc", "bundler", "paymaster"])]
        zerodev: Option<String>,
    },
    /// List networks
    Ls,
    /// Show one
    Show { name: String },
    /// Forget one
    Rm { name: String },
    /// Probe chain id, EntryPoint, contracts, bundler and paymaster
    Check { name: String },
}

#[derive(Debug, Args)]
#[group(required = false, multiple = true)]
pub struct OwnerArgs {
    /// Make a fresh owner key
    #[arg(long)]
    pub owner_new: bool,
    /// The owner's private key as hex in a file (`-` = standard input)
    #[arg(long, value_name = "FILE")]
    pub owner_key_file: Option<String>,
    /// An Ethereum keystore V3 file
    #[arg(long, value_name = "FILE")]
    pub owner_keystore: Option<PathBuf>,
    /// The first line of this file opens the keystore; asked for otherwise
    #[arg(long, value_name = "FILE", requires = "owner_keystore")]
    pub owner_keystore_passphrase_file: Option<String>,
    /// A BIP-39 phrase in a file (`-` = standard input)
    #[arg(long, value_name = "FILE")]
    pub owner_mnemonic_file: Option<String>,
    /// Derivation path for the phrase
    #[arg(long, value_name = "PATH", requires = "owner_mnemonic_file")]
    pub path: Option<String>,
    /// Only the owner's address: watch-only, the owner signs elsewhere
    #[arg(long, value_name = "ADDRESS")]
    pub owner_address: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// A new account at its counterfactual address; nothing is sent
    New {
        name: String,
        #[command(flatten)]
        owner: OwnerArgs,
        /// Kernel version it will be deployed with
        #[arg(long, value_name = "VERSION", default_value = "0.2.4")]
        kernel: String,
        /// Tells the owner's accounts apart
        #[arg(long, value_name = "N", default_value = "0")]
        index: U256,
    },
    /// An account that exists; its owner and version are read from the chain
    Add {
        name: String,
        #[arg(long, value_name = "ADDRESS")]
        address: String,
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// List accounts
    Ls,
    /// Show one
    Show { account: String },
    /// Remove one from the list; its approvals stay on record
    Rm { account: String },
}

#[derive(Debug, Args)]
pub struct GrantArgs {
    /// The account that grants
    #[arg(required_unless_present = "complete")]
    pub account: Option<String>,
    /// The policy file (TOML or JSON)
    #[arg(long, value_name = "FILE", required_unless_present = "complete")]
    pub policy: Option<PathBuf>,
    /// Address of a key that somebody else holds
    #[arg(long, value_name = "ADDRESS", conflicts_with = "new_key")]
    pub agent: Option<String>,
    /// Make a key, to be handed over
    #[arg(long)]
    pub new_key: bool,
    /// What to call the key
    #[arg(long)]
    pub label: Option<String>,
    /// Accept a blocking finding by its phrase, for example R12="…"
    #[arg(long, value_name = "ID=PHRASE")]
    pub accept: Vec<String>,
    /// Write the approval to this file (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[arg(long, value_name = "FORMAT", default_value = "v4")]
    pub format: FormatChoice,
    /// Put the key's private half into the file too: whoever reads it can act
    #[arg(long, requires = "out")]
    pub with_secret: bool,
    /// Write what the owner must sign elsewhere (EIP-712 JSON)
    #[arg(long, requires = "out", conflicts_with = "with_secret")]
    pub unsigned: bool,
    /// Take the signature for a file that --unsigned wrote
    #[arg(long, value_name = "FILE", requires = "signature_file", conflicts_with_all = ["policy", "agent", "new_key", "unsigned"])]
    pub complete: Option<PathBuf>,
    /// The owner's signature, 65 bytes as hex
    #[arg(long, value_name = "FILE")]
    pub signature_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List keys with their state
    Ls { account: Option<String> },
    /// Show one: id, label or address
    Show { key: String },
    /// Write its approvals to a file
    Export {
        key: String,
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[arg(long, value_name = "FORMAT", default_value = "v4")]
        format: FormatChoice,
        /// Put the private half into the file too: whoever reads it can act
        #[arg(long)]
        with_secret: bool,
    },
    /// Remove a draft or an imported key
    Rm { key: String },
    /// Give a key another label
    Name {
        /// Id, label or address
        key: String,
        label: String,
    },
    /// Recover the keys that only the chain knows
    #[command(long_about = "Recover the keys that only the chain knows\n\n\
        Reads the account's operations and those transactions of its owner that leave a trace. Keys that are not on record join \
        it as unknown-…, until they are named. A scan that was cut off goes on where it was, and a later one reads only what is \
        new. It says plainly when something is left unexplained.")]
    Scan {
        account: String,
        /// Begin at this block, not where the account was deployed or the last scan ended
        #[arg(long, value_name = "N")]
        from_block: Option<u64>,
    },
    /// The owner enables approvals on chain now, in their order
    Enable {
        #[arg(required = true)]
        keys: Vec<String>,
        /// How it is sent
        #[arg(long, value_enum, default_value = "auto")]
        via: ViaChoice,
        /// Print the calls for somebody else to send; send nothing
        #[arg(long, conflicts_with_all = ["via", "unsigned", "dry_run"])]
        print: bool,
        /// Most the operation or transaction may cost
        #[arg(long, value_name = "AMOUNT")]
        max_cost: Option<String>,
        /// Show the plan and stop
        #[arg(long)]
        dry_run: bool,
        /// Write what the owner must sign elsewhere; send nothing
        #[arg(long, requires = "out")]
        unsigned: bool,
        /// The file for --unsigned
        #[arg(long, value_name = "FILE", requires = "unsigned")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make a key and print its address for the owner
    New { label: String },
    /// Import an approval and verify it
    Import {
        /// The file, `-` = standard input
        file: String,
        #[arg(long)]
        label: Option<String>,
        /// The session key's address, if it is neither in the file nor made here
        #[arg(long, value_name = "ADDRESS")]
        agent: Option<String>,
    },
    /// List keys made here
    Ls,
}

#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Which backends would answer now
    Status,
    /// Ids, addresses and labels; nothing is unlocked
    Ls,
    /// Move secrets to the other backend: written, read back, compared, then deleted
    Mv {
        /// Ids, addresses or labels
        #[arg(required = true)]
        secrets: Vec<String>,
        #[arg(long, value_name = "BACKEND")]
        to: VaultKind,
    },
    /// Destroy a secret for good
    Rm {
        /// Id, address or label
        secret: String,
        /// Also when an account, key or agent on record needs it
        #[arg(long)]
        even_if_used: bool,
    },
    /// Look at every secret, and put right what was cut off
    Check,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The file, `-` = standard input
    pub file: String,
    /// A node to ask whether it can still be used
    #[arg(long, value_name = "URL")]
    pub rpc: Option<String>,
    /// The session key's address, if it is not in the file
    #[arg(long, value_name = "ADDRESS")]
    pub agent: Option<String>,
    /// The account's owner, if neither the file nor a node tells
    #[arg(long, value_name = "ADDRESS")]
    pub owner: Option<String>,
}

#[derive(Debug, Args)]
pub struct SendArgs {
    /// The key: id, label or address
    #[arg(required_unless_present = "as_owner", conflicts_with = "as_owner")]
    pub key: Option<String>,
    /// Act as the owner of this account instead
    #[arg(long, value_name = "ACCOUNT")]
    pub as_owner: Option<String>,
    /// The contract to call
    #[arg(long, value_name = "ADDRESS", required_unless_present = "batch")]
    pub to: Option<String>,
    /// The function, for example "mint(address)"
    #[arg(long, value_name = "SIG", conflicts_with = "data")]
    pub call: Option<String>,
    /// Its arguments, in order
    #[arg(long = "arg", value_name = "V", requires = "call", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// Call data as hex
    #[arg(long, value_name = "HEX")]
    pub data: Option<String>,
    /// Wei, or "1.5eth"
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    pub value: String,
    /// Several calls: a JSON list of {to, call, args, data, value}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "call", "data"])]
    pub batch: Option<PathBuf>,
    /// Most the operation may cost, for example 0.01eth
    #[arg(long, value_name = "AMOUNT")]
    pub max_cost: Option<String>,
    /// Judge, price and show; send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write what the owner must sign elsewhere; send nothing
    #[arg(long, requires = "out")]
    pub unsigned: bool,
    /// The file for --unsigned
    #[arg(long, value_name = "FILE", requires = "unsigned")]
    pub out: Option<PathBuf>,
    /// Do not wait until it is in a block
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ViaChoice {
    /// The first that works: sponsor, bundler, the owner's own transaction
    Auto,
    /// The network's bundler only
    Bundler,
    /// A transaction of the owner's own address
    Owner,
    /// Owner EOA calls EntryPoint.handleOps directly
    HandleOps,
}

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct RevokeArgs {
    pub account: String,
    /// Keys: id, label or address
    #[arg(required_unless_present_any = ["all", "panic", "lift_panic", "reclaim"])]
    pub keys: Vec<String>,
    /// Revoke every enabled key of the account, also those not on record, and every approval on record
    #[arg(long, conflicts_with = "keys")]
    pub all: bool,
    /// Pause every key at once, until you unpause; needs little more than a node
    #[arg(long, visible_alias = "pause", conflicts_with_all = ["keys", "all"])]
    pub panic: bool,
    /// Unpause, and revoke every key that would work again
    #[arg(long, visible_alias = "unpause", conflicts_with_all = ["keys", "all", "panic"])]
    pub lift_panic: bool,
    /// Give the account back to its owner: restore the default validator, close functions that are routed elsewhere
    #[arg(long, conflicts_with_all = ["keys", "all", "panic", "lift_panic"])]
    pub reclaim: bool,
    /// With --unpause: a key that is to work again; may be given several times
    #[arg(long, value_name = "KEY", requires = "lift_panic")]
    pub keep: Vec<String>,
    /// How it is sent
    #[arg(long, value_enum, default_value = "auto")]
    pub via: ViaChoice,
    /// Print the calls for somebody else to send; send nothing
    #[arg(long, conflicts_with_all = ["via", "unsigned", "dry_run"])]
    pub print: bool,
    /// Most one operation or transaction may cost
    #[arg(long, value_name = "AMOUNT")]
    pub max_cost: Option<String>,
    /// Show the plan and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Write what the owner must sign elsewhere; send nothing
    #[arg(long, requires = "out")]
    pub unsigned: bool,
    /// The file for --unsigned
    #[arg(long, value_name = "FILE", requires = "unsigned")]
    pub out: Option<PathBuf>,
}

/// Reads an address and says which argument was wrong.
pub fn address(argument: &str, text: &str) -> crate::wallet::error::Result<Address> {
    crate::abi::parse_address(text)
        .map_err(|e| crate::wallet::error::Error::usage("argument.address", format!("{argument}: {e}")))
}
