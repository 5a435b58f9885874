//! The sandbox behind the seam: a chain in this process, kept in a file that several processes may share.
//!
//! Each round of calls takes the file's lock, reads the sandbox again if another process has changed it, answers, and
//! writes it if something has changed. Nothing is left running in between.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::transport::{Answering, Answers, Call, ChainError, Transport};
use crate::{
    sandbox::rpc::{RpcFault, Service},
    wallet::files::{self, Outlives},
};

/// What errors call the sandbox.
pub const ORIGIN: &str = "the sandbox";

/// Most bytes that a kept sandbox may have.
const LARGEST: u64 = 256 << 20;

/// Why a kept sandbox could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("could not {what} {path}: {reason}", path = path.display())]
    File { what: &'static str, path: PathBuf, reason: String },
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::evm::ChainError),
}

/// A sandbox to talk to. Cheap to clone; clones are the same sandbox.
#[derive(Clone)]
pub struct InProcess(Arc<Inner>);

struct Inner {
    /// What was read or written last.
    service: Mutex<Option<Service>>,
    /// `None`: only in memory, with a time of its own.
    file: Option<PathBuf>,
}

impl InProcess {
    /// A sandbox that ends with the process and whose time only moves when it is told to: for tests and the demo.
    #[allow(dead_code, reason = "tests of the wallet, and the demo")]
    pub fn in_memory(service: Service) -> Self {
        Self(Arc::new(Inner { service: Mutex::new(Some(service)), file: None }))
    }

    /// The sandbox kept in this file; a fresh one begins where there is none.
    pub fn kept_in(file: PathBuf) -> Self {
        Self(Arc::new(Inner { service: Mutex::new(None), file: Some(file) }))
    }

    /// Uses the sandbox, and keeps what comes of it. Blocks for milliseconds, longer only while another process is at it.
    pub fn with<T>(&self, work: impl FnOnce(&mut Service) -> T) -> Result<T, KeepError> {
        self.0.with(work)
    }

    /// The revision that another process has written since this one read or wrote. Looks at one line of the file, and changes
    /// nothing: neither time nor blocks.
    pub fn changed_elsewhere(&self) -> Result<Option<u64>, KeepError> {
        let Some(file) = &self.0.file else { return Ok(None) };
        let held = self.0.service.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Service::revision);
        Ok(self.0.revision_on_disk(file)?.filter(|on_disk| held.is_some_and(|held| held != *on_disk)))
    }

    /// Begins anew, whatever there was.
    pub fn reset(&self) -> Result<(), KeepError> {
        let mut held = self.0.service.lock().unwrap_or_else(PoisonError::into_inner);
        let service = fresh()?;
        if let Some(file) = &self.0.file {
            let _lock = Inner::lock(file)?;
            self.0.write(file, &service)?;
        }
        *held = Some(service);
        Ok(())
    }
}

impl Inner {
    fn with<T>(&self, work: impl FnOnce(&mut Service) -> T) -> Result<T, KeepError> {
        let mut held = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = self.file.as_deref().map(Self::lock).transpose()?;
        self.use_held(&mut held, work)
    }

    /// For whoever has the file's lock.
    fn use_held<T>(
        &self,
        held: &mut MutexGuard<'_, Option<Service>>,
        work: impl FnOnce(&mut Service) -> T,
    ) -> Result<T, KeepError> {
        let mut service = match (held.take(), &self.file) {
            (Some(service), Some(file)) if self.revision_on_disk(file)? != Some(service.revision()) => {
                self.read(file)?
            }
            (Some(service), _) => service,
            (None, Some(file)) => self.read(file)?,
            (None, None) => fresh()?,
        };
        let before = service.revision();
        if self.file.is_some() {
            service.tick(now());
        }
        let result = work(&mut service);
        if let Some(file) = &self.file
            && (service.revision() != before || !file.exists())
        {
            self.write(file, &service)?;
        }
        **held = Some(service);
        Ok(result)
    }

    /// Held until it is dropped.
    fn lock(file: &Path) -> Result<File, KeepError> {
        let path = file.with_extension("lock");
        let lock = files::open(&path).and_then(|lock| lock.lock().map(|()| lock));
        lock.map_err(|error| trouble("lock", &path, &error))
    }

    /// The first line of the file says which revision it holds.
    fn revision_on_disk(&self, file: &Path) -> Result<Option<u64>, KeepError> {
        match File::open(file) {
            Ok(open) => {
                let mut line = String::new();
                let read = BufReader::new(open).take(32).read_line(&mut line);
                read.map_err(|error| trouble("read", file, &error))?;
                Ok(line.trim().parse().ok())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(trouble("read", file, &error)),
        }
    }

    fn read(&self, file: &Path) -> Result<Service, KeepError> {
        let mut text = String::new();
        match File::open(file).and_then(|open| open.take(LARGEST).read_to_string(&mut text)) {
            Ok(_) => {
                let (_, json) = text.split_once('\n').unwrap_or_default();
                Ok(Service::from_json(json)?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(fresh()?),
            Err(error) => Err(trouble("read", file, &error)),
        }
    }

    fn write(&self, file: &Path, service: &Service) -> Result<(), KeepError> {
        let text = format!("{}\n{}", service.revision(), service.to_json()?);
        files::replace(file, text.as_bytes(), Outlives::Process).map_err(|error| KeepError::File {
            what: "write",
            path: file.to_path_buf(),
            reason: error.to_string(),
        })
    }

    fn answer(&self, calls: &[Call]) -> Answers {
        self.with(|service| answers(service, calls)).unwrap_or_else(|error| unreachable(calls, &error))
    }

    /// `None` where one would have to wait for somebody.
    fn answer_at_once(&self, calls: &[Call]) -> Option<Answers> {
        let mut held = self.service.try_lock().ok()?;
        let _lock = match self.file.as_deref().map(|file| files::open(&file.with_extension("lock"))) {
            Some(opened) => {
                let lock = opened.ok()?;
                lock.try_lock().ok()?;
                Some(lock)
            }
            None => None,
        };
        let answered = self.use_held(&mut held, |service| answers(service, calls));
        Some(answered.unwrap_or_else(|error| unreachable(calls, &error)))
    }
}

fn answers(service: &mut Service, calls: &[Call]) -> Answers {
    let one = |call: &Call| {
        service
            .answer(call.method, &call.params)
            .map_err(|RpcFault { code, message, data }| ChainError::rpc(ORIGIN, call.purpose, code, &message, data))
    };
    calls.iter().map(one).collect()
}

fn unreachable(calls: &[Call], error: &KeepError) -> Answers {
    let unreachable = |call: &Call| {
        Err(ChainError::Unreachable { endpoint: ORIGIN.into(), purpose: call.purpose, reason: error.to_string() })
    };
    calls.iter().map(unreachable).collect()
}

impl Transport for InProcess {
    fn origin(&self) -> &str {
        ORIGIN
    }

    fn request<'a>(&'a self, calls: &'a [Call]) -> Answering<'a> {
        Box::pin(async move {
            if let Some(answers) = self.0.answer_at_once(calls) {
                return answers;
            }
            // off the runtime's threads: another process may hold the lock for a moment
            let (inner, lost) = (Arc::clone(&self.0), calls);
            let calls = calls.to_vec();
            let answers = tokio::task::spawn_blocking(move || inner.answer(&calls)).await;
            answers.unwrap_or_else(|_| {
                let interrupted = |call: &Call| {
                    Err(ChainError::Interrupted {
                        endpoint: ORIGIN.into(),
                        purpose: call.purpose,
                        reason: "the program is ending".into(),
                    })
                };
                lost.iter().map(interrupted).collect()
            })
        })
    }
}

fn trouble(what: &'static str, path: &Path, error: &io::Error) -> KeepError {
    KeepError::File { what, path: path.to_path_buf(), reason: error.to_string() }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Unix seconds.
fn now() -> u64 {
    since_epoch().as_secs()
}

/// A new sandbox. Its revisions begin at the moment of its birth: no two sandboxes are mistaken for one another.
fn fresh() -> Result<Service, KeepError> {
    let birth = u64::try_from(since_epoch().as_nanos()).unwrap_or_default();
    Ok(Service::new(now())?.at_revision(birth))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use alloy::{
        primitives::{Address, Bytes, U256, aliases::U192, eip191_hash_message},
        signers::{SignerSync, local::PrivateKeySigner},
    };
    use serde_json::json;

    use super::*;
    use crate::{
        erc4337::v06::{ENTRY_POINT, UserOperation},
        protocol::{
            AccountCall, Call as InnerCall, DUMMY_SIGNATURE,
            family::snapshot::SnapshotRequest,
            kernel_v2::{account::AccountSeed, generation::KernelVersion, signature},
            query::{LogQuery, Moment},
        },
        sandbox::{CHAIN_ID, contracts::SPONSOR},
        wallet::{
            coin::{Coin, Limit},
            records::model::PaymasterKind,
            rpc::{At, Bundler, Endpoint, FeeCeiling, Followed, Market, Node, Paymaster, Rhythm, buffered, quote},
        },
    };

    const SOMEONE: Address = Address::repeat_byte(0xaa);

    #[tokio::test]
    async fn the_clients_talk_to_it_as_to_any_endpoint() {
        let endpoint = Endpoint::new(InProcess::in_memory(Service::new(1_700_000_000).unwrap()));
        let node = Node::new(endpoint.clone());
        node.check_chain(CHAIN_ID).await.unwrap();
        assert_eq!(node.latest_block().await.unwrap().timestamp, 1_700_000_000);
        assert!(!node.code(ENTRY_POINT, At::Latest).await.unwrap().is_empty());
        Bundler::new(endpoint, ENTRY_POINT, CHAIN_ID).check().await.unwrap();
    }

    #[tokio::test]
    async fn a_sponsored_operation_goes_the_whole_way_through_the_clients() {
        let owner = PrivateKeySigner::from_bytes(&[7; 32].into()).unwrap();
        let seed = AccountSeed { owner: owner.address(), index: U256::ZERO };
        let endpoint = Endpoint::new(InProcess::in_memory(Service::new(1_700_000_000).unwrap()));
        let node = Node::new(endpoint.clone());
        let bundler = Bundler::new(endpoint.clone(), ENTRY_POINT, CHAIN_ID);
        let paymaster = Paymaster::new(endpoint, PaymasterKind::Erc7677, json!({}), ENTRY_POINT, CHAIN_ID);
        paymaster.check().await.unwrap();
        let market = Market::read(&node).await.unwrap();
        let ceiling = FeeCeiling::new(&market, Limit::new(Coin::of(CHAIN_ID), None));
        let quote = quote(&node, &bundler, &market).await.unwrap();
        ceiling.check_fees(&quote.proposer, &quote.fees).unwrap();

        let nothing = InnerCall { to: SOMEONE, value: U256::ZERO, data: Bytes::new() };
        let mut op = UserOperation {
            sender: seed.address(),
            nonce: node.entry_point_nonce(seed.address(), U192::from(9), At::Latest).await.unwrap(),
            init_code: seed.init_code(KernelVersion::DEFAULT),
            call_data: AccountCall::Execute(nothing).encode(),
            signature: signature::sudo(&DUMMY_SIGNATURE),
            ..UserOperation::default()
        };
        quote.fees.apply(&mut op);
        paymaster.stub(&op).await.unwrap().apply(&mut op, Some(SPONSOR), &ceiling).unwrap();
        let estimate = bundler.estimate(&op).await.unwrap();
        buffered(ORIGIN, &estimate, &ceiling).unwrap().apply(&mut op);
        paymaster.sponsor(&op).await.unwrap().apply(&mut op, Some(SPONSOR), &ceiling).unwrap();
        let hash = op.hash(ENTRY_POINT, CHAIN_ID);
        let signed = owner.sign_hash_sync(&eip191_hash_message(hash)).unwrap();
        op.signature = signature::sudo(&signed.as_bytes());
        bundler.send(&op).await.unwrap();

        let followed = bundler.follow(hash, Duration::ZERO, Rhythm::default()).await.unwrap();
        let Followed::Included(included) = followed else { panic!("not included") };
        assert!(included.outcome.success && included.outcome.paymaster == SPONSOR);
        assert_eq!(bundler.by_hash(hash).await.unwrap().unwrap().operation, op);
        let transaction = node.transaction(included.transaction_hash).await.unwrap().unwrap();
        assert_eq!(transaction.to, Some(ENTRY_POINT));
        let query = [LogQuery { address: Some(ENTRY_POINT), topics: vec![vec![], vec![hash]] }];
        let chunk = node.logs(&query, 0, included.block_number).await.unwrap();
        assert_eq!(chunk.logs.len(), 2, "AccountDeployed and UserOperationEvent");
        let request = SnapshotRequest::of(seed.address(), &[SOMEONE], None).on_own_chain(true);
        let moment = Moment { block: included.block_number, timestamp: 0 };
        let snapshot =
            node.ask_for(&request.queries(), At::Latest, |answers| request.read(moment, answers)).await.unwrap();
        assert_eq!((snapshot.owner(), snapshot.balance()), (Some(owner.address()), U256::ZERO));
        assert_eq!(snapshot.version(), Some(KernelVersion::DEFAULT.into()));
    }

    #[test]
    fn what_one_process_does_the_other_sees() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sandbox");
        let (one, other) = (InProcess::kept_in(file.clone()), InProcess::kept_in(file));
        let balance = |of: &InProcess| of.with(|service| service.chain().balance(SOMEONE)).unwrap();
        assert_eq!(balance(&one), U256::ZERO);
        other.with(|service| service.fund(SOMEONE, U256::from(5))).unwrap();
        assert_eq!(balance(&one), U256::from(5));
        one.with(|service| service.fund(SOMEONE, U256::from(2))).unwrap();
        assert_eq!(balance(&other), U256::from(7));
        one.reset().unwrap();
        assert_eq!(balance(&other), U256::ZERO);
    }

    #[test]
    fn several_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sandbox");
        let give = || {
            let sandbox = InProcess::kept_in(file.clone());
            for _ in 0..5 {
                sandbox.with(|service| service.fund(SOMEONE, U256::ONE)).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(give);
            }
        });
        let balance = InProcess::kept_in(file).with(|service| service.chain().balance(SOMEONE)).unwrap();
        assert_eq!(balance, U256::from(20));
    }

    #[test]
    fn a_sandbox_that_cannot_be_read_is_an_error_until_it_is_reset() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sandbox");
        std::fs::write(&file, "7\n{\"broken\":").unwrap();
        let sandbox = InProcess::kept_in(file);
        let error = sandbox.with(|_| ()).unwrap_err();
        assert!(error.to_string().contains("Reset the sandbox"), "{error}");
        sandbox.reset().unwrap();
        sandbox.with(|_| ()).unwrap();
    }
}
