//! So many operations in all, each not before its turn. Counted in validation: a use whose inner call reverts counts too.

use alloy::primitives::Bytes;

use crate::policy::scope::MAX_UINT48;

/// Bytes of the data.
const LENGTH: usize = 18;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// Seconds between the turns.
    pub interval: u64,
    /// Operations in all; 0 = none.
    pub count: u64,
    /// Unix seconds of the first turn. 0 = 1970: every turn up to now may be used at once.
    pub start_at: u64,
}

impl RateLimit {
    /// `interval6 ‖ count6 ‖ startAt6`; of each number the low 48 bits.
    pub fn encode(&self) -> Bytes {
        [self.interval, self.count, self.start_at]
            .into_iter()
            .flat_map(|number| {
                let [_, _, bytes @ ..] = (number & MAX_UINT48).to_be_bytes();
                bytes
            })
            .collect()
    }

    pub fn decode(data: &[u8]) -> Option<Self> {
        let data: &[u8; LENGTH] = data.try_into().ok()?;
        let mut numbers = data.chunks_exact(6).map(|part| part.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
        Some(Self { interval: numbers.next()?, count: numbers.next()?, start_at: numbers.next()? })
    }

    /// Whether the contract takes the data, whatever stands behind it.
    pub(super) const fn is_readable(data: &[u8]) -> bool {
        data.len() >= LENGTH
    }
}
