//! What the terminal front end asks of the wallet. The only file here that touches it.
//!
//! Each job is a task of the runtime. Where the vault waits for a person, a keyring or a key derivation, it lets the other tasks
//! go on. Plans stay here - they may hold a fresh key - and the model knows them by the number of the job that made them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc::UnboundedSender, oneshot},
    task::{JoinError, JoinHandle},
};
use zeroize::Zeroizing;

use super::message::{
    AccountRequest, ApprovalSource, Effect, EnablePreview, GrantPreview, GrantRequest, JobId, OwnerFrom, PolicySource,
    Reached, Report, RevokePreview, SendView,
};
use crate::{
    abi::Interface,
    wallet::{
        AskPassphrase, PassphraseSource, Question, VaultError, Wallet,
        coin::Coin,
        error::{Error, Result},
        home::{Home, io_error, read_bounded, replace},
        policy::Policy,
        records::model::Network,
        usecase::{
            account::OwnerSource,
            enable::EnablePlan,
            grant::{GrantIntent, GrantPlan, Holder},
            inspect::{InspectOptions, texts},
            network::zerodev,
            revoke::RevokePlan,
            scan::{ScanOptions, ScanProgress},
            send::SendPlan,
        },
    },
};

/// Largest ABI file that is read, in bytes.
const MAX_ABI: u64 = 4 << 20;
/// Largest approval that is read, in bytes.
const MAX_APPROVAL: u64 = 16 << 20;
/// How many jobs may ask chains at once.
const READERS: usize = 4;
/// How many operations are listed, the latest ones.
const MOST_OPERATIONS: u32 = 200;
/// How long an operation is asked for when the person asks.
const PATIENCE: Duration = Duration::from_secs(10);

/// What comes back to the loop.
pub enum Event {
    Job(JobId, Report),
    Ask(Question, Reply),
    /// The operating system's keyring takes its time: perhaps it asks the person something.
    KeyringWaits,
}

/// Where a passphrase goes. Dropped unanswered, the vault hears that the person does not want to.
pub struct Reply(mpsc::SyncSender<Zeroizing<String>>);

impl Reply {
    pub fn answer(self, text: Zeroizing<String>) {
        // Nobody waits any more: then nobody needs it.
        let _ = self.0.send(text);
    }
}

/// Asks on the screen, and holds the vault until there is an answer.
struct AskOnScreen(UnboundedSender<Event>);

impl AskPassphrase for AskOnScreen {
    fn ask(&self, question: Question) -> std::result::Result<Zeroizing<String>, VaultError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.0.send(Event::Ask(question, Reply(reply))).map_err(|_| VaultError::Cancelled)?;
        answer.recv().map_err(|_| VaultError::Cancelled)
    }
}

enum Plan {
    Grant(Box<GrantPlan>),
    Revoke(Box<RevokePlan>),
    Enable(Box<EnablePlan>),
    Send(Box<SendPlan>),
}

/// The plans that are under review.
type PendingPlans = Arc<Mutex<HashMap<JobId, Plan>>>;

/// Starts jobs and reports what they say.
pub struct Runner {
    shared: Arc<Shared>,
    plans: PendingPlans,
    /// Dropping one stops the wait for its job.
    running: HashMap<JobId, oneshot::Sender<()>>,
    /// What was pasted where it may be a secret.
    held: PastedText,
}

type PastedText = Arc<Mutex<Option<Zeroizing<String>>>>;

/// What every job needs.
struct Shared {
    home: Home,
    sandbox_home: Home,
    /// Opened by the first job that needs it.
    wallet: Mutex<Option<Arc<Wallet>>>,
    passphrase: Mutex<Option<PassphraseSource>>,
    tell: UnboundedSender<Event>,
    readers: Semaphore,
}

impl Shared {
    fn wallet(&self) -> Result<Arc<Wallet>> {
        let mut open = lock(&self.wallet);
        if let Some(wallet) = open.as_ref() {
            return Ok(Arc::clone(wallet));
        }
        let source = lock(&self.passphrase).take();
        let source = source.unwrap_or_else(|| PassphraseSource::Prompt(Box::new(AskOnScreen(self.tell.clone()))));
        let tell = self.tell.clone();
        let waiting = move || {
            let _ = tell.send(Event::KeyringWaits);
        };
        let wallet = Arc::new(Wallet::open(self.home.clone(), source)?.on_waiting_for_keyring(waiting));
        *open = Some(Arc::clone(&wallet));
        Ok(wallet)
    }

    /// A sandbox home with something to look at. What is left of one that failed halfway is cleared away.
    async fn make_sandbox(&self, job: JobId) -> Result<Wallet> {
        let wallet = Wallet::init_sandbox(&self.sandbox_home)?;
        self.report(job, Report::Phase("creating demo accounts and keys"));
        if let Err(error) = wallet.seed_sandbox().await {
            drop(wallet);
            self.sandbox_home.clear_sandbox()?;
            return Err(error);
        }
        Ok(wallet)
    }

    fn report(&self, job: JobId, report: Report) {
        // The loop has ended: nobody is left to be told.
        let _ = self.tell.send(Event::Job(job, report));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runner {
    /// To be called within the runtime. Without a passphrase source the person is asked on the screen.
    pub fn new(
        home: Home,
        sandbox_home: Home,
        passphrase: Option<PassphraseSource>,
        tell: UnboundedSender<Event>,
    ) -> Self {
        let shared = Shared {
            home,
            sandbox_home,
            wallet: Mutex::new(None),
            passphrase: Mutex::new(passphrase),
            tell,
            readers: Semaphore::new(READERS),
        };
        Self {
            shared: Arc::new(shared),
            plans: PendingPlans::default(),
            running: HashMap::new(),
            held: PastedText::default(),
        }
    }

    /// Keeps a pasted text that may be a secret until it is asked for.
    pub fn hold(&self, text: Zeroizing<String>) {
        *lock(&self.held) = Some(text);
    }

    /// A job has said something; its last word ends it.
    pub fn heard(&mut self, job: JobId, report: &Report) {
        if !report.is_progress() {
            self.running.remove(&job);
        }
    }

    pub fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Load { job } => self.start(job, move |shared| async move {
                let wallet = shared.wallet()?;
                Ok(Report::Records {
                    accounts: wallet.recorded_accounts()?,
                    keys: wallet.recorded_keys()?,
                    in_flight: wallet.in_flight()?,
                    sandbox: wallet.is_sandbox(),
                })
            }),
            Effect::Refresh { job, account } => self.start(job, move |shared| async move {
                let wallet = shared.wallet()?;
                let _turn = shared.readers.acquire().await;
                let found = wallet.inventory(&account).await?;
                Ok(Report::Account(Box::new(found.account), found.keys, found.findings))
            }),
            Effect::Head { job, network, known } => self.start(job, move |shared| async move {
                let block = shared.wallet()?.head(&network, known).await;
                Ok(Report::Head { network, block })
            }),
            Effect::ReadKeys { job, keys } => self.start(job, move |shared| async move {
                let wallet = shared.wallet()?;
                let _turn = shared.readers.acquire().await;
                let mut views = Vec::with_capacity(keys.len());
                for key in &keys {
                    views.push(wallet.key(key).await?);
                }
                Ok(Report::Keys(views))
            }),
            Effect::InitSandbox { job } => self.start(job, move |shared| async move {
                let wallet = shared.make_sandbox(job).await?;
                *lock(&shared.wallet) = Some(Arc::new(wallet));
                Ok(Report::SandboxReady)
            }),
            Effect::PlanGrant { job, request } => {
                let plans = Arc::clone(&self.plans);
                self.start(job, move |shared| async move {
                    let wallet = shared.wallet()?;
                    let coin = wallet.coin_of_account(&request.account);
                    let plan = wallet.plan_grant(intent(request, coin)?).await?;
                    let preview = Box::new(grant_preview(&plan));
                    lock(&plans).insert(job, Plan::Grant(Box::new(plan)));
                    Ok(Report::GrantPlanned(preview))
                });
            }
            Effect::ReadAbi { job, file } => self.start(job, move |_| async move {
                let path = expand_home(&file);
                let interface = Interface::from_json(&read_bounded(&path, MAX_ABI)?)
                    .map_err(|e| Error::usage("abi.unreadable", format!("{}: {e}", path.display())))?;
                Ok(Report::Abi(Box::new(interface)))
            }),
            Effect::ReadApproval { job, key, format } => self.start(job, move |shared| async move {
                Ok(Report::ApprovalText(shared.wallet()?.approval_texts(&key, format).await?))
            }),
            Effect::Export { job, key, format, with_secret, file } => self.start(job, move |shared| async move {
                let path = expand_home(&file);
                shared.wallet()?.export_key(&key, format, with_secret, &path).await?;
                Ok(Report::Exported { file: path.display().to_string(), with_secret })
            }),
            Effect::ReadJudging { job, key } => self.start(job, move |shared| async move {
                Ok(Report::Judging(Some(Arc::new(shared.wallet()?.judging(&key).await?))))
            }),
            Effect::PlanSend { job, intent } => {
                let plans = Arc::clone(&self.plans);
                self.start(job, move |shared| async move {
                    let plan = shared.wallet()?.plan_send(intent).await?;
                    let view = Box::new(send_view(&plan));
                    lock(&plans).insert(job, Plan::Send(Box::new(plan)));
                    Ok(Report::SendPlanned(view))
                });
            }
            Effect::SendCall { job, plan } => {
                let Some(Plan::Send(plan)) = lock(&self.plans).remove(&plan) else { return self.no_plan(job) };
                self.start(job, move |shared| async move {
                    let wallet = shared.wallet()?;
                    let progress = |phase| shared.report(job, Report::Phase(phase));
                    Ok(Report::Sent(Box::new(wallet.execute_send(*plan, true, &progress).await?)))
                });
            }
            Effect::ReadAgents { job } => self.start(job, move |shared| async move {
                let wallet = shared.wallet()?;
                let networks = wallet.networks().into_iter().map(|n| n.name).collect();
                Ok(Report::Agents { agents: wallet.agents()?, networks })
            }),
            Effect::NewAgent { job, label } => self.start(job, move |shared| async move {
                Ok(Report::AgentMade(Box::new(shared.wallet()?.new_agent(&label)?)))
            }),
            Effect::InspectApproval { job, source } => {
                let held = lock(&self.held).clone();
                self.start(job, move |shared| async move {
                    let text = approval_text(&source, held)?;
                    let wallet = shared.wallet()?;
                    let options = InspectOptions { network: source.network, ..InspectOptions::default() };
                    let mut found = Vec::new();
                    for one in texts(&text) {
                        found.push(wallet.inspect(one, &options).await?);
                    }
                    Ok(Report::Inspected(found))
                });
            }
            Effect::ImportApproval { job, source, label } => {
                // Taken now: the screen may be left, and what was pasted given up, before the job has begun.
                let held = lock(&self.held).clone();
                self.start(job, move |shared| async move {
                    let text = approval_text(&source, held)?;
                    let wallet = shared.wallet()?;
                    let (mut keys, mut warnings) = (Vec::new(), Vec::new());
                    for one in texts(&text) {
                        let network = source.network.as_deref();
                        let (key, said) = wallet.import_approval(one, label.as_deref(), None, network).await?;
                        keys.push(key);
                        warnings.extend(said);
                    }
                    Ok(Report::ApprovalImported { keys, warnings })
                });
            }
            Effect::DropHeld => *lock(&self.held) = None,
            Effect::SignGrant { job, plan, accepted } => {
                let Some(Plan::Grant(plan)) = lock(&self.plans).remove(&plan) else { return self.no_plan(job) };
                self.start(job, move |shared| async move {
                    Ok(Report::Granted(Box::new(shared.wallet()?.execute_grant(*plan, &accepted).await?)))
                });
            }
            Effect::PlanRevoke { job, intent } => {
                let plans = Arc::clone(&self.plans);
                self.start(job, move |shared| async move {
                    let plan = shared.wallet()?.plan_revoke(intent).await?;
                    let preview = Box::new(revoke_preview(&plan)?);
                    lock(&plans).insert(job, Plan::Revoke(Box::new(plan)));
                    Ok(Report::RevokePlanned(preview))
                });
            }
            Effect::SendRevoke { job, plan } => {
                let Some(Plan::Revoke(plan)) = lock(&self.plans).remove(&plan) else { return self.no_plan(job) };
                self.start(job, move |shared| async move {
                    let wallet = shared.wallet()?;
                    let progress = |phase| shared.report(job, Report::Phase(phase));
                    Ok(Report::Revoked(Box::new(wallet.execute_revoke(*plan, &progress).await?)))
                });
            }
            Effect::PlanEnable { job, intent } => {
                let plans = Arc::clone(&self.plans);
                self.start(job, move |shared| async move {
                    let plan = shared.wallet()?.plan_enable(intent).await?;
                    let preview = Box::new(enable_preview(&plan)?);
                    lock(&plans).insert(job, Plan::Enable(Box::new(plan)));
                    Ok(Report::EnablePlanned(preview))
                });
            }
            Effect::SendEnable { job, plan } => {
                let Some(Plan::Enable(plan)) = lock(&self.plans).remove(&plan) else { return self.no_plan(job) };
                self.start(job, move |shared| async move {
                    let wallet = shared.wallet()?;
                    let progress = |phase| shared.report(job, Report::Phase(phase));
                    Ok(Report::Enabled(Box::new(wallet.execute_enable(*plan, &progress).await?)))
                });
            }
            Effect::Operations { job } => self.start(job, move |shared| async move {
                Ok(Report::Operations(shared.wallet()?.operations(MOST_OPERATIONS)?))
            }),
            Effect::Follow { job, operation } => self.start(job, move |shared| async move {
                Ok(Report::Followed(Box::new(shared.wallet()?.status(operation, PATIENCE).await?)))
            }),
            Effect::Scan { job, account } => self.start(job, move |shared| async move {
                let wallet = shared.wallet()?;
                let tell = |progress: &ScanProgress| shared.report(job, Report::Scanning(*progress));
                Ok(Report::Scanned(Box::new(wallet.scan(&account, ScanOptions::default(), &tell).await?)))
            }),
            Effect::Networks { job } => {
                self.start(job, move |shared| async move { Ok(Report::Networks(shared.wallet()?.networks())) });
            }
            Effect::CheckNetwork { job, name } => self.start(job, move |shared| async move {
                Ok(Report::Checked(shared.wallet()?.check_network(&name).await?))
            }),
            Effect::AddNetwork { job, request } => self.start(job, move |shared| async move {
                let network = network(request.chain_id, request.reached)?;
                let wallet = shared.wallet()?;
                let name = wallet.add_network(&request.name, &network)?.name;
                // Where it cannot be asked now, the next connection asks.
                let _ = wallet.learn_chain(&name).await;
                Ok(Report::NetworkAdded(name))
            }),
            Effect::RemoveNetwork { job, name } => self.start(job, move |shared| async move {
                shared.wallet()?.remove_network(&name)?;
                Ok(Report::NetworkRemoved(name))
            }),
            Effect::AddAccount { job, request } => {
                self.start(job, move |shared| async move { add_account(&shared, request).await });
            }
            Effect::RemoveAccount { job, name } => self.start(job, move |shared| async move {
                shared.wallet()?.remove_account(&name)?;
                Ok(Report::AccountRemoved(name))
            }),
            Effect::InitHome { job, vault } => self.start(job, move |shared| async move {
                Wallet::init(&shared.home, vault)?;
                Ok(Report::HomeReady)
            }),
            Effect::VaultStatus { job } => {
                self.start(job, move |shared| async move { Ok(Report::Vault(shared.wallet()?.vault_status()?)) });
            }
            Effect::Save { job, name, text } => self.start(job, move |shared| async move {
                let folder = shared.wallet()?.home().data().join("copies");
                save(&folder, &name, &text).map(Report::Saved)
            }),
            Effect::Forget { plan } => {
                lock(&self.plans).remove(&plan);
            }
            Effect::Cancel { job } => {
                self.running.remove(&job);
            }
            // The loop's own.
            Effect::Copy { .. } | Effect::Suspend | Effect::Quit => {}
        }
    }

    fn no_plan(&self, job: JobId) {
        let error = Error::failed("plan.gone", "the plan you reviewed is gone; nothing was done")
            .hint("go back and review it again");
        self.shared.report(job, Report::Failed(error));
    }

    fn start<W, F>(&mut self, job: JobId, work: W)
    where
        W: FnOnce(Arc<Shared>) -> F + Send + 'static,
        F: Future<Output = Result<Report>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let (running, cancelled) = oneshot::channel::<()>();
        self.running.insert(job, running);
        let task = tokio::spawn(work(Arc::clone(&shared)));
        tokio::spawn(async move {
            let report = match ended(task, cancelled).await {
                Ok(Ok(report)) => report,
                Ok(Err(error)) => Report::Failed(error),
                Err(error) if error.is_cancelled() => Report::Stopped,
                Err(_) => Report::Failed(
                    Error::failed("internal", "Internal error: the job panicked. Please report it.")
                        .hint("check what was done before you try again"),
                ),
            };
            shared.report(job, report);
        });
    }
}

/// What a job came to. One that is stopped is waited for until it has really ended, and if it was done by then, that is said.
async fn ended<T>(mut task: JoinHandle<T>, cancelled: oneshot::Receiver<()>) -> std::result::Result<T, JoinError> {
    tokio::select! {
        ended = &mut task => return ended,
        _ = cancelled => task.abort(),
    }
    task.await
}

fn intent(request: GrantRequest, coin: Coin) -> Result<GrantIntent> {
    let policy = match request.policy {
        PolicySource::Made(policy) => *policy,
        PolicySource::File(name) => Policy::read(coin, &expand_home(&name))?,
    };
    Ok(GrantIntent { account: request.account, policy, holder: request.holder, label: request.label })
}

/// The text of an approval from elsewhere. It may carry a private key.
fn approval_text(source: &ApprovalSource, held: Option<Zeroizing<String>>) -> Result<Zeroizing<String>> {
    match &source.file {
        Some(file) => Ok(Zeroizing::new(read_bounded(&expand_home(file), MAX_APPROVAL)?)),
        None => {
            held.ok_or_else(|| Error::usage("approval.none", "nothing was pasted").hint("paste the approval first"))
        }
    }
}

/// `~/` is the shell's business elsewhere; in a form there is no shell.
fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn send_view(plan: &SendPlan) -> SendView {
    let preview = plan.preview();
    SendView {
        account: plan.account,
        network: plan.network.clone(),
        chain_id: plan.chain_id(),
        calls: plan.account_call.calls(),
        enables: preview.enables,
        deploys: preview.deploys,
        max_cost: plan.prepared.max_cost,
        ceiling: plan.prepared.ceiling,
        replaces: preview.replaces,
        paymaster: preview.paymaster,
        fee_source: preview.fee_source,
        user_op_hash: preview.user_op_hash,
        findings: preview.risks,
    }
}

fn grant_preview(plan: &GrantPlan) -> GrantPreview {
    GrantPreview {
        account: plan.account.name.clone(),
        network: plan.account.network.clone(),
        chain_id: plan.account.chain_id,
        address: plan.account.address,
        owner: plan.account.owner,
        label: plan.label.clone(),
        session_key: plan.session_key,
        made_here: plan.holder == Holder::NewKey,
        sentences: plan.sentences.clone(),
        warnings: plan.resolved.warnings.clone(),
        findings: plan.findings.clone(),
        checked: plan.checked.clone(),
        digests: plan.to_sign().into_iter().map(|a| (a.opens, a.nonce, a.digest)).collect(),
    }
}

fn revoke_preview(plan: &RevokePlan) -> Result<RevokePreview> {
    let price = plan.price();
    Ok(RevokePreview {
        account: plan.account.name.clone(),
        network: plan.account.network.clone(),
        address: plan.account.address,
        steps: plan.steps.clone(),
        also_revokes: plan.also_revokes.clone(),
        warnings: plan.warnings.clone(),
        skipped: plan.skipped.clone(),
        calls: if price.is_none() { plan.printed()? } else { Vec::new() },
        price,
        further: plan.further,
    })
}

fn enable_preview(plan: &EnablePlan) -> Result<EnablePreview> {
    let price = plan.price();
    Ok(EnablePreview {
        account: plan.account.name.clone(),
        network: plan.account.network.clone(),
        address: plan.account.address,
        steps: plan.steps.clone(),
        skipped: plan.skipped.clone(),
        notes: plan.notes.clone(),
        calls: if price.is_none() { plan.printed()? } else { Vec::new() },
        price,
    })
}

fn network(chain_id: u64, reached: Reached) -> Result<Network> {
    match reached {
        Reached::Zerodev(project) => zerodev(&project, chain_id),
        Reached::Urls { rpc, bundler, paymaster } => {
            let (paymaster, kind) = paymaster.map_or((None, None), |(url, kind)| (Some(url), Some(kind)));
            Ok(Network {
                chain_id,
                rpc,
                second_rpc: None,
                bundler,
                paymaster,
                paymaster_kind: kind,
                paymaster_context: None,
            })
        }
    }
}

async fn add_account(shared: &Shared, request: AccountRequest) -> Result<Report> {
    let wallet = shared.wallet()?;
    let AccountRequest { name, network, address, owner, index } = request;
    let owner = match owner {
        OwnerFrom::Fresh => Some(OwnerSource::New),
        OwnerFrom::KeyFile(file) => Some(OwnerSource::KeyFile(secret_file(&file)?)),
        OwnerFrom::PhraseFile(file) => Some(OwnerSource::MnemonicFile(secret_file(&file)?, None)),
        OwnerFrom::Keystore(file) => {
            let ask = PassphraseSource::Prompt(Box::new(AskOnScreen(shared.tell.clone())));
            Some(OwnerSource::Keystore(expand_home(&file), ask))
        }
        OwnerFrom::Nobody(owner) => owner.map(OwnerSource::Address),
    };
    let view = match (address, owner) {
        (Some(address), owner) => wallet.add_account(&name, &network, address, owner).await?,
        (None, Some(owner)) => wallet.new_account(&name, &network, owner, None, index).await?,
        (None, None) => return Err(Error::usage("account.owner", "a new account needs an owner")),
    };
    Ok(Report::AccountAdded(Box::new(view)))
}

/// Standard input is the keyboard here: `-` must not mean it.
fn secret_file(typed: &str) -> Result<String> {
    if typed == "-" {
        return Err(Error::usage("file.stdin", "\"-\" stands for standard input, which is the keyboard here")
            .hint("name the file; one that is called \"-\" is ./-"));
    }
    Ok(expand_home(typed).display().to_string())
}

/// Writes beside what was saved before, never over it.
fn save(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|e| io_error("make", folder, &e))?;
    let free = (1..1000).map(|n| folder.join(format!("{name}-{n}.txt"))).find(|f| !f.exists());
    let file = free.ok_or_else(|| {
        Error::failed("file.many", format!("{} has too many files of that name", folder.display()))
            .hint("delete some of them")
    })?;
    replace(&file, text.as_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn runner() -> (Runner, UnboundedReceiver<Event>) {
        let folder = std::env::temp_dir().join("keyleash-no-home");
        let (tell, heard) = unbounded_channel();
        (Runner::new(Home::at(&folder), Home::at(&folder), None, tell), heard)
    }

    async fn last_word(heard: &mut UnboundedReceiver<Event>) -> Report {
        match tokio::time::timeout(Duration::from_secs(20), heard.recv()).await {
            Ok(Some(Event::Job(1, report))) => report,
            _ => panic!("the job has said nothing"),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_job_that_panics_is_told_as_a_fault() {
        let (mut runner, mut heard) = runner();
        runner.start(1, |_| async { panic!("it fell over") });
        let Report::Failed(error) = last_word(&mut heard).await else { panic!("it has not failed") };
        assert_eq!(error.code, "internal");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_job_that_is_stopped_says_so_once_it_has_ended() {
        let (mut runner, mut heard) = runner();
        let (dropped, mut gone) = oneshot::channel::<()>();
        runner.start(1, |_| async move {
            let _held = dropped;
            std::future::pending().await
        });
        runner.run(Effect::Cancel { job: 1 });
        assert!(matches!(last_word(&mut heard).await, Report::Stopped));
        assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Closed), "nothing of it is left");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_job_that_has_done_its_work_when_it_is_stopped_says_what_it_came_to() {
        let (mut runner, mut heard) = runner();
        let (begun, at_work) = oneshot::channel();
        let (let_go, wait) = std::sync::mpsc::channel();
        runner.start(1, move |_| async move {
            begun.send(()).unwrap();
            // Not at a point where it can be stopped.
            tokio::task::block_in_place(|| wait.recv()).unwrap();
            Ok(Report::SandboxReady)
        });
        at_work.await.unwrap();
        runner.run(Effect::Cancel { job: 1 });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let_go.send(()).unwrap();
        assert!(matches!(last_word(&mut heard).await, Report::SandboxReady));
    }
}
