//! Which account function an approval opens to its key, and what it installs for it (docs/kernel-v3.md#selector-data).

use alloy::{
    primitives::{Address, Bytes, Selector, bytes},
    sol_types::SolValue,
};

use super::super::{
    account::{CallType, selector},
    canonical::Cursor,
    contracts::KernelVersion,
};

/// Bytes before the two values of the long form: selector, module and hook.
const LONG_HEAD: usize = 44;

/// `selectorData` of an approval, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorData {
    /// Exactly `execute`, and nothing installed: four bytes, or the 236 that the SDKs write.
    Plain,
    /// Another account function, called directly by the key, past every call policy. Nothing is installed.
    Opens(Selector),
    /// The long form: a module is installed at first use, and stays when the key is uninstalled.
    Installs(Module),
    /// Not in a form that an encoder writes, or one that the account refuses: counts as the worst.
    Unreadable(Bytes),
}

/// What the long form installs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The function of the account that is routed to the module, for everybody whom the hook lets through.
    pub selector: Selector,
    pub target: Address,
    pub hook: Address,
    /// [`CallType::DelegateCall`]: the module's code runs as the account. [`CallType::Call`]: a module that says it is an
    /// executor is installed as one too, and may then move everything at any time.
    pub call_type: CallType,
    /// Given to the module behind the call type.
    pub init_data: Bytes,
    pub hook_data: Bytes,
}

impl Module {
    /// Whether it may become an executor: nothing but a module's own answer keeps it from that.
    pub fn may_be_executor(&self) -> bool {
        self.call_type == CallType::Call
    }

    /// Whether any stranger may call it.
    pub fn is_open(&self, kernel: KernelVersion) -> bool {
        const NO_HOOK: Address = Address::with_last_byte(1);
        self.hook == NO_HOOK || (self.hook.is_zero() && kernel == KernelVersion::V3_0)
    }
}

impl SelectorData {
    /// What the SDKs sign for a plain key.
    pub fn plain() -> Bytes {
        Self::long(&Module {
            selector: selector::EXECUTE,
            target: Address::ZERO,
            hook: Address::ZERO,
            call_type: CallType::DelegateCall,
            init_data: Bytes::new(),
            hook_data: bytes!("0000"),
        })
    }

    /// `selector4 ‖ target20 ‖ hook20 ‖ abi.encode(bytes callType ‖ initData, bytes hookData)`.
    pub fn long(module: &Module) -> Bytes {
        let init: Bytes = [&[module.call_type.code()][..], &module.init_data].concat().into();
        let values = (init, module.hook_data.clone()).abi_encode_params();
        [module.selector.as_slice(), module.target.as_slice(), module.hook.as_slice(), &values].concat().into()
    }

    pub fn decode(data: &[u8]) -> Self {
        if data == selector::EXECUTE.as_slice() || *data == Self::plain()[..] {
            return Self::Plain;
        }
        if let Ok(opened) = <[u8; 4]>::try_from(data) {
            return Self::Opens(Selector::new(opened));
        }
        match read_long(data) {
            Some(module) => Self::Installs(module),
            None => Self::Unreadable(Bytes::copy_from_slice(data)),
        }
    }

    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }

    /// The account function that the key is allowed to call, where the account takes the data at all.
    pub fn selector(&self) -> Option<Selector> {
        match self {
            Self::Plain => Some(selector::EXECUTE),
            Self::Opens(opened) => Some(*opened),
            Self::Installs(module) => Some(module.selector),
            Self::Unreadable(data) => data.get(..4).map(Selector::from_slice),
        }
    }

    /// Whether the account reverts while it enables: by the length and the call type alone.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Plain | Self::Opens(_) => false,
            Self::Installs(module) => !matches!(module.call_type, CallType::Call | CallType::DelegateCall),
            Self::Unreadable(data) => data.len() < LONG_HEAD,
        }
    }
}

fn read_long(data: &[u8]) -> Option<Module> {
    let (head, values) = data.split_at_checked(LONG_HEAD)?;
    let (selector, rest) = head.split_at_checked(4)?;
    let (target, hook) = rest.split_at_checked(20)?;
    let (init, hook_data) = Cursor::whole(values, |cursor| {
        cursor.offset(64)?;
        let second = cursor.number::<usize>()?;
        let init = cursor.bytes()?;
        cursor.is_at(second).then_some(())?;
        Some((init, cursor.bytes()?))
    })?;
    let (call_type, init_data) = init.split_first()?;
    Some(Module {
        selector: Selector::from_slice(selector),
        target: Address::from_slice(target),
        hook: Address::from_slice(hook),
        call_type: CallType::from_code(*call_type),
        init_data: Bytes::copy_from_slice(init_data),
        hook_data: Bytes::copy_from_slice(hook_data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_two_forms_are_plain() {
        let plain = SelectorData::plain();
        assert_eq!(plain.len(), 236);
        assert_eq!(SelectorData::decode(&plain), SelectorData::Plain);
        assert_eq!(SelectorData::decode(selector::EXECUTE.as_slice()), SelectorData::Plain);
        for at in 0..plain.len() {
            let mut other = plain.to_vec();
            other[at] ^= 1;
            assert!(!SelectorData::decode(&other).is_plain(), "byte {at}");
        }
        for length in (0..4).chain(5..plain.len()) {
            let cut = SelectorData::decode(&plain[..length]);
            assert_eq!((cut.is_plain(), cut.is_refused()), (false, length < 44), "{length} bytes");
        }
        assert!(!SelectorData::decode(&[&plain[..], &[0; 32]].concat()).is_plain());
    }

    #[test]
    fn what_is_installed_is_named() {
        let module = Module {
            selector: [1, 2, 3, 4].into(),
            target: Address::repeat_byte(5),
            hook: Address::with_last_byte(1),
            call_type: CallType::DelegateCall,
            init_data: vec![6].into(),
            hook_data: vec![7; 33].into(),
        };
        assert_eq!(SelectorData::decode(&SelectorData::long(&module)), SelectorData::Installs(module.clone()));
        assert!(module.is_open(KernelVersion::V3_3) && !module.may_be_executor());
        let closed = Module { hook: Address::ZERO, call_type: CallType::Call, ..module.clone() };
        assert!(
            closed.is_open(KernelVersion::V3_0) && !closed.is_open(KernelVersion::V3_1) && closed.may_be_executor()
        );
        let strange = SelectorData::Installs(Module { call_type: CallType::Unknown(7), ..module });
        assert!(strange.is_refused());
        let invalidate = SelectorData::decode(&[0x1f, 0x1b, 0x92, 0xe3]);
        assert_eq!(invalidate, SelectorData::Opens([0x1f, 0x1b, 0x92, 0xe3].into()));
    }
}
