//! The command line: arguments in, one use-case of the core, text or JSON out.

#![allow(clippy::indexing_slicing, reason = "the JSON objects of results are made here; lists are read with get")]

pub mod args;
mod man;
pub mod output;
mod owner;
mod render;
mod revoke;
mod scan;
mod show;

use std::{
    io::{IsTerminal, Read},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use alloy::primitives::{B256, Bytes, U256};
use args::{
    AccountCommand, AgentCommand, Cli, Command, FormatChoice, Global, GrantArgs, InspectArgs, KeyCommand,
    NetworkCommand, SandboxCommand, SendArgs, VaultCommand, VaultKind, address,
};
use clap::{CommandFactory, Parser, error::ErrorKind};
use output::{Output, print};
use serde_json::{Value, json};

use crate::{
    abi::Function,
    policy::sentence,
    protocol::{Call, Format},
    text::{clean, is_unsafe},
    wallet::{
        Backend, PassphraseSource, Wallet,
        coin::Coin,
        demo::story,
        error::{Class, Error, Result},
        home::{Home, create, read_bounded},
        policy::{MAX_POLICY, Policy},
        records::model::Network,
        sandbox_profile::DEMO,
        state::{DRAFT, State},
        submit::{
            operation::{OperationOutcome, Prepared},
            routes::Submission,
        },
        usecase::{
            account::AccountView,
            enable::EnableIntent,
            grant::{Accepted, GrantIntent, Holder},
            inspect::{InspectOptions, inspect, texts},
            key::KeyView,
            network::{clear_text, in_the_clear, origin, zerodev},
            offline_signing::UnsignedOperation,
            send::{Actor, SendIntent},
            status::Completed,
        },
    },
};

/// Largest approval, batch or signature file, in bytes.
const MAX_INPUT: u64 = 8 << 20;

/// What a failing command had found out already: `data` of the envelope.
type Partial = Value;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let Some(command) = cli.command else {
        return no_command(&cli.global);
    };
    let mut output = Output::new(cli.global.json).verbose(cli.global.verbose);
    if let Err(error) = crate::wallet::shield_process() {
        output.warn("process.shield", &error.to_string());
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(output, &Error::failed("process.runtime", format!("cannot start: {e}")), Value::Null),
    };
    let mut partial = Value::Null;
    #[cfg(target_os = "linux")]
    let _limits = runtime.block_on(async {
        // A limit on the size of files (ulimit -f) shall be an error to get on with, and not the end of a revocation.
        const SIGXFSZ: i32 = 25;
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIGXFSZ))
    });
    match runtime.block_on(run(&cli.global, command, &mut output, &mut partial)) {
        Ok(Done { data, text }) => match output.done(&data, &text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(Output::new(false), &error, Value::Null),
        },
        Err(error) => fail(output, &error, partial),
    }
}

fn fail(output: Output, error: &Error, data: Value) -> ExitCode {
    output.failed(error, data);
    ExitCode::from(error.class.exit_code())
}

/// clap's own errors: help and version are results, everything else is a usage error - in JSON when that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match print(&error.render().to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(1),
        };
    }
    let text = error.render().to_string();
    if std::env::args_os().any(|a| a == "--json") {
        let said = text.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ");
        let message = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let failure = Error::usage("usage", clean(&message, 500)).hint("see `keyleash --help`");
        Output::new(true).failed(&failure, Value::Null);
    } else if text.chars().any(|c| c != '\n' && is_unsafe(c)) {
        // clap repeats the argument it does not know; without its colours it can be shown safely.
        Output::new(false).say(&text);
    } else {
        let _ = error.print();
    }
    ExitCode::from(Class::Usage.exit_code())
}

/// Without a command, a person on a terminal gets the terminal UI.
fn no_command(global: &Global) -> ExitCode {
    #[cfg(feature = "tui")]
    if !global.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return terminal_ui(global);
    }
    let message = if std::io::stdout().is_terminal() {
        "say what to do: `keyleash --help` lists the commands"
    } else {
        "there is no terminal and no command; try `keyleash demo`, or see `keyleash --help`"
    };
    fail(Output::new(global.json), &Error::usage("usage.no_command", message), Value::Null)
}

#[cfg(feature = "tui")]
fn terminal_ui(global: &Global) -> ExitCode {
    let mut output = Output::new(false);
    if let Err(error) = crate::wallet::shield_process() {
        output.warn("process.shield", &error.to_string());
    }
    let colour = match global.color {
        args::ColorChoice::Auto => None,
        args::ColorChoice::Always => Some(true),
        args::ColorChoice::Never => Some(false),
    };
    let session = || {
        let (home, sandbox_home) = (home(global)?, sandbox_home(global)?);
        let passphrase_file = global.passphrase_file.clone();
        crate::tui::run(crate::tui::Options { home, sandbox_home, passphrase_file, colour })
    };
    match session() {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(output, &error, Value::Null),
    }
}

/// A finished command.
struct Done {
    data: Value,
    text: String,
}

fn done(data: impl serde::Serialize, text: impl Into<String>) -> Result<Done> {
    let data = serde_json::to_value(data)
        .map_err(|e| Error::failed("output.json", format!("the result could not be written as JSON: {e}")))?;
    Ok(Done { data, text: text.into() })
}

async fn run(global: &Global, command: Command, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    match command {
        Command::Init { sandbox: true } => init_sandbox(global, output).await,
        Command::Init { sandbox: false } => init(global),
        Command::Demo => demo(output).await,
        Command::Sandbox(command) => sandbox(global, command, output).await,
        Command::Network(command) => network(global, command, output, partial).await,
        Command::Account(command) => account(global, command, output, partial).await,
        Command::Grant(args) => grant(global, args, output, partial).await,
        Command::Key(command) => key(global, command, output, partial).await,
        Command::Agent(command) => agent(global, command, output).await,
        Command::Inspect(args) => inspect_text(global, args, output, partial).await,
        Command::Send(args) => send(global, args, output, partial).await,
        Command::Status { hash } => status(global, hash, output, partial).await,
        Command::Revoke(args) => revoke::revoke(global, args, output, partial).await,
        Command::Complete { file, signature_file, max_cost } => {
            complete(global, &file, &signature_file, max_cost.as_deref(), output, partial).await
        }
        Command::Vault(command) => vault(global, command, output, partial),
        Command::Doctor => doctor(global, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "keyleash", &mut text);
            done(json!({ "script": String::from_utf8_lossy(&text) }), String::from_utf8_lossy(&text))
        }
        Command::Man => {
            let text =
                man::page().map_err(|e| Error::failed("man", format!("the manual page could not be written: {e}")))?;
            done(json!({ "man": text }), text)
        }
    }
}

fn home(global: &Global) -> Result<Home> {
    if let Some(folder) = &global.home {
        return Ok(Home::at(folder));
    }
    let (real, sandbox) = (Home::of_user()?, Home::sandbox_of_user()?);
    Ok(if !real.is_initialized() && sandbox.is_initialized() { sandbox } else { real })
}

fn open(global: &Global, output: &mut Output) -> Result<Wallet> {
    let passphrase = PassphraseSource::from_argument(global.passphrase_file.as_deref());
    let quiet = global.json;
    let wallet = Wallet::open(home(global)?, passphrase)?;
    output.listen(wallet.notices());
    if wallet.is_sandbox() {
        output.warn("sandbox", "SANDBOX: a chain inside this program, with play keys; nothing here is real");
    }
    Ok(wallet.for_one_command().on_waiting_for_keyring(move || Output::new(quiet).say("waiting for your keyring …")))
}

fn sandbox_home(global: &Global) -> Result<Home> {
    global.home.as_deref().map_or_else(Home::sandbox_of_user, |folder| Ok(Home::at(folder)))
}

async fn init_sandbox(global: &Global, output: &mut Output) -> Result<Done> {
    let home = sandbox_home(global)?;
    let wallet = Wallet::init_sandbox(&home)?;
    output.warn("sandbox", "SANDBOX: a chain inside this program, with play keys; nothing here is real");
    wallet.seed_sandbox().await?;
    let keys = wallet.keys(None).await?;
    let text = format!(
        "Sandbox profile created in {}.\nAn NFT is at {}, a token at {}, a lending toy at {}; the sponsor is {}.\n\n{}\n\nNext: keyleash key ls",
        home.config_folder().display(),
        DEMO.nft,
        DEMO.token,
        DEMO.lending,
        DEMO.sponsor,
        show::keys(&keys)
    );
    done(json!({ "home": home.config_folder(), "sandbox": true, "contracts": DEMO }), text)
}

async fn sandbox(global: &Global, command: SandboxCommand, output: &mut Output) -> Result<Done> {
    let wallet = open(global, output)?;
    let controls = wallet.controls()?;
    match command {
        SandboxCommand::Time { ahead } => {
            let seconds = sentence::parse_duration(ahead.trim_start_matches('+'))
                .map_err(|e| Error::usage("argument.duration", format!("+DURATION: {e}")))?;
            let now = controls.advance(seconds)?;
            done(json!({ "time": now }), format!("On the sandbox it is {} now.", sentence::time(now)))
        }
        SandboxCommand::Reset => {
            output.confirm("Throw the sandbox's chain, accounts and keys away, and begin anew?", global.yes)?;
            let home = wallet.home().clone();
            drop(wallet);
            home.clear_sandbox()?;
            Wallet::init_sandbox(&home)?.seed_sandbox().await?;
            done(json!({ "reset": true }), "The sandbox is as new.")
        }
    }
}

async fn demo(output: &mut Output) -> Result<Done> {
    let quiet = output.is_json();
    output.warn("sandbox", "SANDBOX: a chain inside this program, with play keys; nothing here is real");
    let mut step = 0;
    let scenes = story(&mut |scene| {
        step += 1;
        if !quiet {
            // Told as it happens; a reader that has gone away is no failure.
            let _ = print(&show::scene(step, scene));
        }
    })
    .await?;
    let text = format!("\nDone: {} steps, offline.\nNext: keyleash init --sandbox, then keyleash", scenes.len());
    done(json!({ "steps": scenes }), text)
}

fn init(global: &Global) -> Result<Done> {
    let home = match &global.home {
        Some(folder) => Home::at(folder),
        None => Home::of_user()?,
    };
    let backend = match global.vault {
        Some(kind) => backend_of(kind),
        None => Backend::Keyring,
    };
    Wallet::init(&home, backend)?;
    let secrets = match backend {
        Backend::Keyring => "Secrets will be kept in the keyring of this system.",
        Backend::File => "Secrets will be kept in encrypted files there; the passphrase is chosen with the first key.",
    };
    let text = format!(
        "Profile created in {}.\n{secrets}\nNext: keyleash network add NAME --chain-id N --rpc URL --bundler URL",
        home.config_folder().display()
    );
    done(json!({ "home": home.config_folder(), "vault": backend }), text)
}

fn backend_of(kind: VaultKind) -> Backend {
    match kind {
        VaultKind::Keyring => Backend::Keyring,
        VaultKind::File => Backend::File,
    }
}

fn vault(global: &Global, command: VaultCommand, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let wallet = open(global, output)?;
    match command {
        VaultCommand::Status => {
            let backends = wallet.vault_status()?;
            done(&backends, show::backends(&backends))
        }
        VaultCommand::Ls => {
            let secrets = wallet.secrets()?;
            done(&secrets, show::secrets(&secrets))
        }
        VaultCommand::Mv { secrets, to } => {
            let to = backend_of(to);
            let found = secrets.iter().map(|s| wallet.find_secret(s)).collect::<Result<Vec<_>>>()?;
            let rows: Vec<_> = found.iter().map(|s| format!("  {} {} ({})", s.id, s.label, s.address)).collect();
            output.review(&rows.join("\n"));
            output.confirm(&format!("Move {} to the {to}?", counted(found.len(), "secret")), global.yes)?;
            let mut moved = Vec::new();
            for secret in found.iter().filter(|s| s.backend != to) {
                wallet.move_secret(&secret.id, to)?;
                moved.push(secret.id);
                *partial = json!({ "moved": moved, "to": to });
            }
            let text = format!("{} moved to the {to}.", counted(moved.len(), "secret"));
            done(json!({ "moved": moved, "to": to }), text)
        }
        VaultCommand::Rm { secret, even_if_used } => {
            let found = wallet.find_secret(&secret)?;
            output.confirm(&format!("Destroy the secret {} ({}) for good?", found.label, found.address), global.yes)?;
            wallet.remove_secret(&found.id, even_if_used)?;
            done(json!({ "removed": found.id }), format!("{} is destroyed.", found.label))
        }
        VaultCommand::Check => {
            let findings = wallet.check_secrets()?;
            let data = json!({ "findings": findings });
            let problems = findings.iter().filter(|f| f.problem).count();
            if problems == 0 {
                return done(data, show::findings_of_vault(&findings));
            }
            *partial = data;
            if !global.json {
                print(&show::findings_of_vault(&findings))?;
            }
            let message = format!("{} with a problem", counted(problems, "secret"));
            Err(Error::new(Class::Vault, "vault.check", message))
        }
    }
}

fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

async fn network(global: &Global, command: NetworkCommand, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let wallet = open(global, output)?;
    match command {
        NetworkCommand::Add {
            name,
            chain_id,
            rpc,
            second_rpc,
            bundler,
            paymaster,
            paymaster_kind,
            paymaster_context,
            zerodev: project,
        } => {
            let network = match (project, rpc) {
                (Some(project), _) => Network { second_rpc, ..zerodev(&project, chain_id)? },
                (None, Some(rpc)) => {
                    Network { chain_id, rpc, second_rpc, bundler, paymaster, paymaster_kind, paymaster_context }
                }
                (None, None) => return Err(Error::usage("network.rpc", "--rpc URL is missing")),
            };
            let view = wallet.add_network(&name, &network)?;
            if let Some(why) = wallet.learn_chain(&name).await {
                output.warn("network.unknown_chain", &why);
            }
            done(&view, format!("Network {name} added. Check it with: keyleash network check {name}"))
        }
        NetworkCommand::Ls => {
            let networks = wallet.networks();
            done(&networks, show::networks(&networks))
        }
        NetworkCommand::Show { name } => {
            let view = wallet.network(&name)?;
            done(&view, show::networks(std::slice::from_ref(&view)))
        }
        NetworkCommand::Rm { name } => {
            wallet.remove_network(&name)?;
            done(json!({ "removed": name }), format!("Network {name} removed."))
        }
        NetworkCommand::Check { name } => {
            let probes = wallet.check_network(&name).await?;
            let ok = probes.iter().all(|p| p.ok);
            let data = json!({ "network": name, "ok": ok, "probes": probes });
            if ok {
                return done(data, show::probes(&probes));
            }
            *partial = data;
            if !global.json {
                print(&show::probes(&probes))?;
            }
            let failed: Vec<&str> = probes.iter().filter(|p| !p.ok).map(|p| p.what.as_str()).collect();
            Err(Error::new(Class::Chain, "network.check", format!("{name} is not complete: {}", failed.join(", "))))
        }
    }
}

/// Where a network has a second node: what is shown of these accounts is shown only when both say the same.
async fn compared(
    wallet: &Wallet,
    accounts: impl IntoIterator<Item = (String, alloy::primitives::Address)>,
    output: &mut Output,
) -> Result<()> {
    for remark in wallet.nodes_agree_about(accounts.into_iter().collect()).await? {
        output.warn("chain.second_node", &remark);
    }
    Ok(())
}

async fn account(global: &Global, command: AccountCommand, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let wallet = open(global, output)?;
    match command {
        AccountCommand::New { name, owner, kernel, index } => {
            let network = wallet.default_network(global.network.as_deref())?;
            let source = owner::source(&owner, global)?.ok_or_else(|| {
                Error::usage("account.owner", "who owns the account?").hint(
                    "say --owner-new, --owner-key-file, --owner-keystore, --owner-mnemonic-file or --owner-address",
                )
            })?;
            let view = wallet.new_account(&name, &network, source, Some(&kernel), index).await?;
            warn_of_unread_accounts(std::slice::from_ref(&view), output);
            done(&view, show::account(&view))
        }
        AccountCommand::Add { name, address: text, owner } => {
            let network = wallet.default_network(global.network.as_deref())?;
            let source = owner::source(&owner, global)?;
            let view = wallet.add_account(&name, &network, address("--address", &text)?, source).await?;
            done(&view, show::account(&view))
        }
        AccountCommand::Ls => {
            let accounts = wallet.accounts().await?;
            warn_of_unread_accounts(&accounts, output);
            done(&accounts, show::accounts(&accounts))
        }
        AccountCommand::Show { account } => {
            let found = wallet.inventory(&account).await?;
            warn_of_unread_accounts(std::slice::from_ref(&found.account), output);
            let mut data = json!(found.account);
            data["findings"] = json!(found.findings);
            data["power"] = json!(found.power);
            data["control"] = json!(found.power.as_ref().map(|p| p.control));
            data["keys"] = found.keys.iter().map(render::key).collect();
            *partial = data.clone();
            compared(&wallet, [(found.account.network.clone(), found.account.address)], output).await?;
            done(data, show::inventory(&found))
        }
        AccountCommand::Rm { account } => {
            wallet.remove_account(&account)?;
            done(
                json!({ "removed": account }),
                format!("{account} is off the list; its approvals and its owner's key stay on record."),
            )
        }
    }
}

async fn grant(global: &Global, args: GrantArgs, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let wallet = open(global, output)?;
    if let Some(file) = &args.complete {
        return complete_grant(&wallet, file, args.signature_file.as_deref()).await;
    }
    let (Some(account), Some(policy_file)) = (args.account.clone(), args.policy.as_deref()) else {
        return Err(Error::usage("usage", "grant needs an account and --policy FILE"));
    };
    let holder = match (&args.agent, args.new_key) {
        (Some(agent), false) => Holder::Agent(address("--agent", agent)?),
        (None, true) => Holder::NewKey,
        _ => {
            return Err(Error::usage("grant.holder", "who will hold the key?")
                .hint("say --agent ADDRESS for a key made elsewhere, or --new-key"));
        }
    };
    if let Some(out) = args.out.as_deref().filter(|out| out.exists()) {
        return Err(Error::usage("file.exists", format!("{} exists already; nothing was signed", out.display()))
            .hint("name another file"));
    }
    if let Some(folder) =
        args.out.as_deref().and_then(Path::parent).filter(|f| !f.as_os_str().is_empty() && !f.is_dir())
    {
        return Err(Error::usage(
            "file.no_folder",
            format!("there is no folder {}; nothing was signed", folder.display()),
        )
        .hint("make it first, or name a file in another folder"));
    }
    let accepted = accepted(&args.accept)?;
    let policy = read_policy(wallet.coin_of_account(&account), policy_file)?;
    let plan = wallet.plan_grant(GrantIntent { account, policy, holder, label: args.label.clone() }).await?;
    *partial = json!({ "risks": render::findings(&plan.findings), "checks": plan.checked.checks });
    for warning in &plan.resolved.warnings {
        output.warn("policy", warning);
    }
    output.review(&show::grant_plan(&plan));
    crate::wallet::usecase::grant::check_findings(&plan.findings, &accepted)?;
    if args.unsigned {
        return unsigned_grant(&wallet, plan, &accepted, &args, global, output);
    }
    if let Some(out) = args.out.as_deref().filter(|_| args.with_secret) {
        output.warn("grant.bearer", &format!("{} will carry the session key: whoever reads it can act", out.display()));
    }
    output.confirm("Sign this approval?", global.yes)?;
    let granted = wallet.execute_grant(plan, &accepted).await?;
    let mut data = render::granted(&granted);
    let mut texts = Vec::new();
    match &args.out {
        Some(out) => {
            wallet.export_key(&granted.key.key_id, format(args.format), args.with_secret, out).await?;
        }
        None => {
            texts = wallet.approval_texts(&granted.key.key_id, format(args.format)).await?;
            data["approval"] = json!(texts.first());
            data["further_approvals"] = json!(texts.get(1..).unwrap_or_default());
        }
    }
    let text = show::granted(&granted, args.out.as_deref(), &texts);
    done(data, text)
}

fn unsigned_grant(
    wallet: &Wallet,
    plan: crate::wallet::usecase::grant::GrantPlan,
    accepted: &Accepted,
    args: &GrantArgs,
    global: &Global,
    output: &mut Output,
) -> Result<Done> {
    let to_sign = plan.to_sign();
    let [typed] = to_sign.as_slice() else {
        return Err(Error::usage(
            "grant.unsigned",
            "a policy that needs several signatures cannot be signed elsewhere in one go",
        )
        .hint("ask for one account function at a time: selector = \"execute\""));
    };
    output.confirm("Write down this draft?", global.yes)?;
    let granted = wallet.draft_grant(plan, accepted)?;
    let digest = granted.approvals.first().map(|a| a.digest).unwrap_or_default();
    // The typed data itself, so that a wallet takes the file as it is, with what we need to know it again beside it.
    let mut file = typed.typed_data.clone();
    file["keyleash"] = json!({ "draft": 1, "key_id": granted.key.key_id, "digest": digest });
    let text = serde_json::to_string_pretty(&file).unwrap_or_default();
    if let Some(out) = &args.out {
        create(out, text.as_bytes())?;
    }
    let data = render::granted(&granted);
    let said = format!(
        "Draft {} written. Sign the EIP-712 message in the file with the owner's wallet (eth_signTypedData_v4), then:\n\
         keyleash grant --complete FILE --signature-file SIGNATURE",
        granted.key.key_id
    );
    done(data, said)
}

async fn complete_grant(wallet: &Wallet, file: &Path, signature_file: Option<&Path>) -> Result<Done> {
    let draft: Value = serde_json::from_str(&read_bounded(file, MAX_INPUT)?)
        .map_err(|e| Error::usage("grant.draft", format!("{} is not a draft of keyleash: {e}", file.display())))?;
    let digest: B256 = draft
        .get("keyleash")
        .and_then(|k| k.get("digest"))
        .and_then(Value::as_str)
        .and_then(|d| d.parse().ok())
        .ok_or_else(|| Error::usage("grant.draft", format!("{}: `keyleash.digest` is missing", file.display())))?;
    let path = signature_file.ok_or_else(|| Error::usage("usage", "--signature-file is missing"))?;
    let signature = read_signature(path)?;
    let (key, approval) = wallet.complete_grant(digest, &signature).await?;
    let mut data = render::key(&key);
    data["enable_signature"] = json!(approval.enable_signature);
    data["digest"] = json!(approval.digest);
    data["approval"] = json!(wallet.approval_texts(&key.key_id, Format::V4).await?.first());
    let text = format!("{} is signed. Hand it over with: keyleash key export {} --out FILE", key.label, key.key_id);
    done(data, text)
}

fn read_signature(file: &Path) -> Result<Bytes> {
    let text = read_bounded(file, 4096)?;
    let digits = text.trim().trim_matches('"');
    digits.parse().map_err(|_| {
        Error::usage("signature.unreadable", format!("{}: expected a signature as hex, 65 or 64 bytes", file.display()))
    })
}

/// What the owner signs elsewhere goes to a file; nothing is sent.
fn write_unsigned(operation: &UnsignedOperation, out: &Path) -> Result<Done> {
    if out.exists() {
        return Err(Error::usage("file.exists", format!("{} exists already; it was left alone", out.display()))
            .hint("name another file"));
    }
    let text = serde_json::to_string_pretty(operation)
        .map_err(|e| Error::failed("output.json", format!("the operation could not be written as JSON: {e}")))?;
    create(out, text.as_bytes())?;
    let said = format!(
        "Written to {}. Sign its `message` with the owner's wallet (personal_sign over the 32 bytes), then:\n\
         keyleash complete {} --signature-file SIGNATURE",
        out.display(),
        out.display()
    );
    done(json!({ "written": out, "message": operation.message, "user_op": operation.user_op }), said)
}

async fn complete(
    global: &Global,
    file: &Path,
    signature_file: &Path,
    max_cost: Option<&str>,
    output: &mut Output,
    partial: &mut Partial,
) -> Result<Done> {
    let wallet = open(global, output)?;
    let operation: UnsignedOperation = serde_json::from_str(&read_bounded(file, MAX_INPUT)?)
        .map_err(|e| Error::usage("operation.file", format!("{} is not what --unsigned wrote: {e}", file.display())))?;
    let signature = read_signature(signature_file)?;
    let max_cost = amount(Coin::of(operation.chain_id), "--max-cost", max_cost)?;
    output.review(&show::unsigned(&operation));
    output.confirm("Send this operation?", global.yes)?;
    let completed = wallet.complete_operation(operation, &signature, max_cost).await?;
    report(completed, output, partial)
}

/// An operation that was followed, with its proofs when it took keys back.
fn report(mut completed: Completed, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let mut data = render::operation(&completed.operation);
    data["proof"] = json!(completed.proof);
    data["proofs"] = json!(completed.proofs);
    data["paused"] = json!(completed.paused);
    data["remaining"] = json!(completed.remaining);
    let (verdict, words) = (completed.verdict(), completed.in_words());
    if let Some(error) = completed.not_proven.take() {
        *partial = data;
        return Err(error);
    }
    let mut text = show::operation(&completed.operation);
    if verdict.is_some() {
        text = format!("{words}\n{text}");
    }
    for proof in &completed.proofs {
        text.push('\n');
        text.push_str(&show::proof(proof));
    }
    if let Some(paused) = &completed.paused {
        text.push('\n');
        text.push_str(&show::paused(paused));
    }
    if let Some(error) = verdict.and_then(|verdict| revoke::failure(verdict, &words)) {
        output.review(&text);
        *partial = data;
        return Err(error);
    }
    finished(&completed.operation, data, text, partial)
}

fn accepted(arguments: &[String]) -> Result<Accepted> {
    arguments
        .iter()
        .map(|argument| {
            argument.split_once('=').map(|(id, phrase)| (id.to_owned(), phrase.to_owned())).ok_or_else(|| {
                Error::usage("grant.accept", "--accept: expected ID=PHRASE, for example --accept \"R12=…\"")
            })
        })
        .collect()
}

fn read_policy(coin: Coin, file: &Path) -> Result<Policy> {
    let text = read_bounded(file, MAX_POLICY)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    Policy::parse_in(coin, &text, &|name| read_bounded(&folder.join(name), MAX_POLICY))
        .map_err(|e| Error { message: format!("{}: {}", file.display(), e.message), ..e })
}

fn format(choice: FormatChoice) -> Format {
    match choice {
        FormatChoice::V4 => Format::V4,
        FormatChoice::V5 => Format::V5,
    }
}

async fn key(global: &Global, command: KeyCommand, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let wallet = open(global, output)?;
    match command {
        KeyCommand::Ls { account } => {
            let keys = wallet.keys(account.as_deref()).await?;
            warn_of_unread_keys(&keys, output);
            let data = keys.iter().map(render::key).collect::<Vec<_>>();
            *partial = json!(data);
            compared(&wallet, keys.iter().map(|key| (key.network.clone(), key.account)), output).await?;
            done(data, show::keys(&keys))
        }
        KeyCommand::Show { key } => {
            let view = wallet.key(&key).await?;
            warn_of_unread_keys(std::slice::from_ref(&view), output);
            let proofs = wallet.proofs(&view.key_id)?;
            let mut data = render::key(&view);
            data["proofs"] = json!(proofs);
            *partial = data.clone();
            compared(&wallet, [(view.network.clone(), view.account)], output).await?;
            let shown = std::iter::once(show::key(&view)).chain(proofs.iter().map(show::proof));
            done(data, shown.collect::<Vec<_>>().join("\n"))
        }
        KeyCommand::Export { key, out, format: wanted, with_secret } => {
            if with_secret {
                output.warn(
                    "key.bearer",
                    &format!("{} will carry the session key: whoever reads it can act", out.display()),
                );
                output.confirm("Write the key's private half to this file?", global.yes)?;
            }
            wallet.export_key(&key, format(wanted), with_secret, &out).await?;
            done(json!({ "written": out }), format!("Written to {}.", out.display()))
        }
        KeyCommand::Rm { key } => {
            let mut recorded = wallet.recorded_keys()?;
            recorded.retain(|k| k.key_id == key || k.label == key);
            for found in &recorded {
                output.review(&show::removal(found));
            }
            output.confirm("Take this key off the list?", global.yes)?;
            wallet.remove_key(&key)?;
            let draft = recorded.iter().any(|k| k.state == State::Draft);
            let draft = if draft { format!(" {DRAFT}, by its id or its address.") } else { String::new() };
            let text = format!("{key} is off the list.{draft}");
            done(json!({ "removed": key }), text)
        }
        KeyCommand::Name { key, label } => {
            let view = wallet.name_key(&key, &label)?;
            let text = format!("{key} is called {} now.", view.label);
            done(render::key(&view), text)
        }
        KeyCommand::Scan { account, from_block } => {
            let (data, text) = scan::scan(&wallet, &account, from_block, output).await?;
            done(data, text)
        }
        KeyCommand::Enable { keys, via, print, max_cost, dry_run, unsigned: _, out } => {
            let coin = keys.first().map_or_else(Coin::unlisted, |key| wallet.coin_of_key(key));
            let max_cost = amount(coin, "--max-cost", max_cost.as_deref())?;
            let route = revoke::preference(print, via);
            let plan = wallet.plan_enable(EnableIntent { keys, route, max_cost }).await?;
            let price = plan.price();
            let mut preview = json!({
                "plan": plan.steps, "passed_over": plan.skipped, "way": price.as_ref().map(|p| p.route),
                "max_cost": price.as_ref().map(|p| p.max_cost.to_string()),
                "cap": price.as_ref().map(|p| p.ceiling.to_string()), "coin": price.as_ref().map(|p| p.coin),
                "replaces": price.as_ref().and_then(|p| p.replaces), "notes": plan.notes,
            });
            if print {
                preview["calls"] = json!(plan.printed()?);
            }
            *partial = preview.clone();
            let text = show::enable_plan(&plan)?;
            if dry_run || print {
                return done(preview, text);
            }
            output.review(&text);
            if let Some(out) = out {
                return write_unsigned(&wallet.unsigned_enable(&plan)?, &out);
            }
            if let Some(prepared) = plan.submission().and_then(Submission::for_bundler) {
                output.detail(|| unsigned_json(prepared));
            }
            for note in &plan.notes {
                output.warn("enable.note", note);
            }
            output.confirm("Enable now?", global.yes)?;
            let enabled = wallet.execute_enable(plan, &()).await?;
            let mut data = render::operation(&enabled.operation);
            data["way"] = json!(enabled.route);
            data["keys"] = enabled.keys.iter().map(render::key).collect();
            if enabled.operation.is_waiting() {
                *partial = data;
                let hash = enabled.operation.user_op_hash;
                let message = "it was sent, and is not in a block yet: the keys are not enabled";
                return Err(Error::new(Class::Chain, "enable.waiting", message).hint(format!(
                    "follow it with `keyleash status {hash}`; if it is stuck, run enable again with --via owner"
                )));
            }
            let text = format!("{}\n{}", show::sent(&enabled.operation, enabled.route), show::keys(&enabled.keys));
            finished(&enabled.operation, data, text, partial)
        }
    }
}

/// A chain that could not be asked is no failure of a list; that it was not asked, and why, is said with a code.
fn warn_of_unread_keys(keys: &[KeyView], output: &mut Output) {
    let unread =
        keys.iter().filter_map(|k| k.unread.as_ref().map(|e| (k.network.as_str(), e.code.as_str(), &e.message)));
    warn_of_unread(unread, output);
}

fn warn_of_unread_accounts(accounts: &[AccountView], output: &mut Output) {
    let why = |a: &'_ AccountView| a.unknown_because.is_some();
    let unread = accounts.iter().filter(|a| why(a)).filter_map(|a| {
        Some((a.network.as_str(), a.unknown_code.as_deref().unwrap_or("chain"), a.unknown_because.as_ref()?))
    });
    warn_of_unread(unread, output);
}

/// Each cause once for each network.
fn warn_of_unread<'a>(unread: impl Iterator<Item = (&'a str, &'a str, &'a String)>, output: &mut Output) {
    for (network, code, why) in unread.collect::<std::collections::BTreeSet<_>>() {
        output.warn(code, &format!("{network} could not be asked, so nothing there is known as of now: {why}"));
    }
}

async fn agent(global: &Global, command: AgentCommand, output: &mut Output) -> Result<Done> {
    let wallet = open(global, output)?;
    match command {
        AgentCommand::New { label } => {
            let view = wallet.new_agent(&label)?;
            let text = format!("{}\nGive this address to the owner; the private half stays here.", view.address);
            done(&view, text)
        }
        AgentCommand::Import { file, label, agent } => {
            let text = read_input(&file)?;
            let agent = agent.as_deref().map(|a| address("--agent", a)).transpose()?;
            let mut taken_in = None;
            for one in texts(&text) {
                let (view, warnings) =
                    wallet.import_approval(one, label.as_deref(), agent, global.network.as_deref()).await?;
                for warning in &warnings {
                    output.warn("approval", warning);
                }
                taken_in = Some(view);
            }
            let view =
                taken_in.ok_or_else(|| Error::usage("approval.unreadable", "there is no approval in the text"))?;
            done(render::key(&view), show::key(&view))
        }
        AgentCommand::Ls => {
            let agents = wallet.agents()?;
            let rows: Vec<Vec<String>> = agents.iter().map(|a| vec![a.label.clone(), a.address.to_string()]).collect();
            done(&agents, output::table(&["label", "address"], &rows))
        }
    }
}

async fn inspect_text(global: &Global, args: InspectArgs, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let text = read_input(&args.file)?;
    let options = InspectOptions {
        session_key: args.agent.as_deref().map(|a| address("--agent", a)).transpose()?,
        owner: args.owner.as_deref().map(|a| address("--owner", a)).transpose()?,
        rpc: args.rpc,
        network: global.network.clone(),
    };
    if let Some(host) = options.rpc.as_deref().and_then(in_the_clear) {
        output.warn("network.http", &clear_text(&host));
    }
    let home = home(global)?;
    if !home.is_initialized() && options.network.is_some() {
        return Err(Error::usage("home.none", "--network needs a profile that knows it").hint("use --rpc URL"));
    }
    let wallet = if home.is_initialized() { Some(open(global, output)?) } else { None };
    if let Some(node) = options.rpc.as_deref().and_then(origin) {
        output.asks(&node);
    }
    let mut inspections = Vec::new();
    for one in texts(&text) {
        let found = match &wallet {
            Some(wallet) => wallet.inspect(one, &options).await?,
            None => inspect(one, &options).await?,
        };
        for warning in &found.warnings {
            output.warn("approval", warning);
        }
        inspections.push(found);
    }
    let unverified = inspections.iter().find_map(crate::wallet::usecase::inspect::Inspection::unverified);
    let shown: Vec<String> = inspections.iter().map(show::inspection).collect();
    let mut all: Vec<Value> = inspections.iter().map(render::inspection).collect();
    let mut data = if all.is_empty() { Value::Null } else { all.remove(0) };
    if !all.is_empty() {
        data["further"] = json!(all);
    }
    if let Some(error) = unverified {
        if !output.is_json() {
            print(&shown.join("\n\n"))?;
        }
        *partial = data;
        return Err(error);
    }
    done(data, shown.join("\n\n"))
}

async fn send(global: &Global, args: SendArgs, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let wallet = open(global, output)?;
    let actor = match (args.key.clone(), args.as_owner.clone()) {
        (_, Some(account)) => Actor::Owner(account),
        (Some(key), None) => Actor::Key(key),
        (None, None) => return Err(Error::usage("usage", "name a key, or --as-owner ACCOUNT")),
    };
    let coin = match &actor {
        Actor::Owner(account) => wallet.coin_of_account(account),
        Actor::Key(key) => wallet.coin_of_key(key),
    };
    let (calls, batch) = match &args.batch {
        Some(file) => (batch_calls(coin, file)?, true),
        None => (vec![single_call(coin, &args)?], false),
    };
    let intent = SendIntent { actor, calls, batch, max_cost: amount(coin, "--max-cost", args.max_cost.as_deref())? };
    let plan = wallet.plan_send(intent).await?;
    let mut preview = serde_json::to_value(plan.preview()).unwrap_or_default();
    preview["risks"] = render::findings(&plan.findings);
    // In text they are lines of the plan.
    if output.is_json() {
        plan.findings.iter().for_each(|f| output.warn(&format!("risk.{}", f.id), &f.message));
    }
    *partial = preview.clone();
    let called: Vec<Function> = args.call.iter().filter_map(|call| Function::parse(call).ok()).collect();
    let text = show::send_plan(&plan, &called);
    for note in &plan.notes {
        output.warn("send.note", note);
    }
    if args.dry_run {
        return done(preview, text);
    }
    output.review(&text);
    if let Some(out) = &args.out {
        return write_unsigned(&wallet.unsigned_send(&plan)?, out);
    }
    output.detail(|| unsigned_json(&plan.prepared));
    output.confirm("Send it?", global.yes)?;
    let (max_cost, cap) = (plan.prepared.max_cost.to_string(), plan.prepared.ceiling.to_string());
    let outcome = wallet.execute_send(plan, !args.no_wait, &()).await?;
    let mut data = render::operation(&outcome);
    data["max_cost"] = json!(max_cost);
    data["cap"] = json!(cap);
    finished(&outcome, data, show::operation(&outcome), partial)
}

async fn status(global: &Global, hash: B256, output: &mut Output, partial: &mut Partial) -> Result<Done> {
    let completed = open(global, output)?.status(hash, Duration::from_secs(20)).await?;
    report(completed, output, partial)
}

/// The operation as it will be sent, before it is signed; for `--verbose`.
fn unsigned_json(prepared: &Prepared) -> String {
    let operation = serde_json::to_string_pretty(&prepared.user_op).unwrap_or_default();
    format!("UserOperation {} with a dummy signature:\n{operation}", prepared.user_op_hash)
}

/// Success only when the operation is in a block and its inner call went through (or nobody wanted to wait).
fn finished(outcome: &OperationOutcome, data: Value, text: String, partial: &mut Partial) -> Result<Done> {
    match (outcome.phase, outcome.success) {
        (_, Some(true)) | ("sent", None) => done(data, text),
        ("refused", _) => {
            *partial = data;
            Err(Error::new(Class::Chain, "operation.refused", outcome.revert_reason.clone().unwrap_or_default()))
        }
        _ => {
            *partial = data;
            let reason = outcome.revert_reason.clone().unwrap_or_else(|| "no reason given".into());
            Err(Error::new(Class::Reverted, "operation.reverted", format!("it was mined, but failed: {reason}"))
                .hint("nothing the call was meant to do has happened; gas was paid"))
        }
    }
}

fn doctor(global: &Global, output: &mut Output) -> Result<Done> {
    let home = home(global)?;
    let mut report = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "initialized": home.is_initialized(),
    });
    if home.is_initialized() {
        let wallet = open(global, output)?;
        report["vault"] = json!(home.load_config()?.vault);
        report["networks"] = json!(wallet.networks());
        report["secrets"] = json!(wallet.secrets()?.len());
        report["backends"] = json!(wallet.vault_status()?);
        report["operations_in_flight"] = json!(wallet.in_flight()?);
    }
    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
    done(report, text)
}

fn read_input(file: &str) -> Result<String> {
    if file != "-" {
        return read_bounded(Path::new(file), MAX_INPUT);
    }
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_INPUT + 1)
        .read_to_string(&mut text)
        .map_err(|e| Error::failed("file.io", format!("standard input cannot be read as text: {e}")))?;
    if text.len() as u64 > MAX_INPUT {
        return Err(Error::usage("file.too_large", format!("standard input is larger than {MAX_INPUT} bytes")));
    }
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

fn amount(coin: Coin, argument: &str, text: Option<&str>) -> Result<Option<U256>> {
    text.map(|t| coin.parse(t).map_err(|e| Error::usage("argument.amount", format!("{argument}: {e}")))).transpose()
}

fn single_call(coin: Coin, args: &SendArgs) -> Result<Call> {
    let to = args.to.as_deref().ok_or_else(|| Error::usage("usage", "--to ADDRESS is missing"))?;
    Ok(Call {
        to: address("--to", to)?,
        value: amount(coin, "--value", Some(&args.value))?.unwrap_or_default(),
        data: call_data("--call", args.call.as_deref(), &args.args, args.data.as_deref())?,
    })
}

fn call_data(field: &str, signature: Option<&str>, args: &[String], data: Option<&str>) -> Result<Bytes> {
    match (signature, data) {
        (Some(signature), _) => {
            let function =
                Function::parse(signature).map_err(|e| Error::usage("argument.call", format!("{field}: {e}")))?;
            function.encode_call(args).map_err(|e| Error::usage("argument.arg", format!("{field}: {e}")))
        }
        (None, Some(data)) => data
            .parse()
            .map_err(|_| Error::usage("argument.data", "--data: expected hex with an even number of digits")),
        (None, None) => Ok(Bytes::new()),
    }
}

/// A batch file: a JSON list of calls.
fn batch_calls(coin: Coin, file: &Path) -> Result<Vec<Call>> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        to: String,
        call: Option<String>,
        #[serde(default)]
        args: Vec<Value>,
        data: Option<String>,
        value: Option<Value>,
    }
    const MAX_CALLS: usize = 256;
    let text = read_bounded(file, MAX_INPUT)?;
    let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|e| {
        Error::usage(
            "send.batch",
            format!("{}: expected a JSON list of {{to, call, args, data, value}}: {e}", file.display()),
        )
    })?;
    if entries.len() > MAX_CALLS {
        return Err(Error::usage("send.batch", format!("{}: more than {MAX_CALLS} calls", file.display())));
    }
    let plain = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    entries
        .iter()
        .enumerate()
        .map(|(i, entry)| {
            let field = format!("{}[{i}]", file.display());
            let args: Vec<String> = entry.args.iter().map(plain).collect();
            Ok(Call {
                to: address(&format!("{field}.to"), &entry.to)?,
                value: amount(coin, &format!("{field}.value"), entry.value.as_ref().map(plain).as_deref())?
                    .unwrap_or_default(),
                data: call_data(&format!("{field}.call"), entry.call.as_deref(), &args, entry.data.as_deref())?,
            })
        })
        .collect()
}
