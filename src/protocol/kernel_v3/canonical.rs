//! Reads ABI-encoded bytes in the one form that an encoder writes: no gaps, no shared parts, no dirty padding, nothing behind the
//! end. The contracts read much else (pointers anywhere, surplus bytes), and what only some of them read is not understood.
//!
//! In that form everything stands in the order it is named, so that one pass suffices and nothing is copied.

use alloy::primitives::{Address, B256, U256};

pub(super) struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Reads the whole of `data`; `None` unless all of it was read.
    pub(super) fn whole<T>(data: &'a [u8], read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut cursor = Self::new(data);
        let value = read(&mut cursor)?;
        (cursor.at == data.len()).then_some(value)
    }

    pub(super) fn is_at(&self, at: usize) -> bool {
        self.at == at
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let part = self.data.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(part)
    }

    pub(super) fn word(&mut self) -> Option<B256> {
        self.take(32).map(B256::from_slice)
    }

    pub(super) fn uint(&mut self) -> Option<U256> {
        self.word().map(|word| U256::from_be_bytes(word.0))
    }

    /// A number that has to fit.
    pub(super) fn number<T: TryFrom<U256>>(&mut self) -> Option<T> {
        self.uint()?.try_into().ok()
    }

    pub(super) fn address(&mut self) -> Option<Address> {
        let word = self.word()?;
        let address = Address::from_word(word);
        (address.into_word() == word).then_some(address)
    }

    pub(super) fn bool(&mut self) -> Option<bool> {
        match self.number::<u8>()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// `bytesN` at the start of a word.
    pub(super) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let word = self.take(32)?;
        let (value, padding) = word.split_at_checked(N)?;
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        value.try_into().ok()
    }

    /// An offset, which has to be this one.
    pub(super) fn offset(&mut self, expected: usize) -> Option<()> {
        (self.number::<usize>()? == expected).then_some(())
    }

    /// `bytes`: length, content, zeros up to a whole word.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number::<usize>()?;
        let content = self.take(length)?;
        let padding = self.take(length.checked_next_multiple_of(32)?.checked_sub(length)?)?;
        padding.iter().all(|byte| *byte == 0).then_some(content)
    }

    /// An array whose items have no offsets.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.length()?;
        (0..length).map(|_| item(self)).collect()
    }

    /// An array whose items each have an offset, counted from behind the length.
    pub(super) fn list_of_dynamic<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.length()?;
        let base = self.at;
        let mut offsets = Vec::with_capacity(length);
        for _ in 0..length {
            offsets.push(self.number::<usize>()?);
        }
        let mut items = Vec::with_capacity(length);
        for offset in offsets {
            if self.at.checked_sub(base)? != offset {
                return None;
            }
            items.push(item(self)?);
        }
        Some(items)
    }

    /// Of an array: no item takes less than a word, so that no length asks for more memory than the data has.
    fn length(&mut self) -> Option<usize> {
        let length = self.number::<usize>()?;
        let rest = self.data.get(self.at..)?.len();
        (length <= rest / 32).then_some(length)
    }
}

/// `abi.encode(bytes[])`.
pub(super) fn bytes_list(data: &[u8]) -> Option<Vec<&[u8]>> {
    Cursor::whole(data, |cursor| {
        cursor.offset(32)?;
        cursor.list_of_dynamic(Cursor::bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::{primitives::Bytes, sol_types::SolValue};

    #[test]
    fn a_list_is_read_in_the_form_it_is_written_and_in_no_other() {
        let items = vec![Bytes::from_static(&[1; 33]), Bytes::new(), Bytes::from_static(&[2])];
        let data = items.abi_encode();
        let read: Vec<Bytes> = bytes_list(&data).unwrap().into_iter().map(Bytes::copy_from_slice).collect();
        assert_eq!(read, items);
        for at in 0..data.len() {
            // Another byte of the content is another list; any other byte is none.
            let mut other = data.clone();
            other[at] ^= 1;
            if let Some(list) = bytes_list(&other) {
                let list: Vec<Bytes> = list.into_iter().map(Bytes::copy_from_slice).collect();
                assert_eq!(list.abi_encode(), other, "byte {at}");
            }
        }
        assert_eq!(bytes_list(&data[..data.len() - 1]), None);
        assert_eq!(bytes_list(&[&data[..], &[0; 32]].concat()), None);
    }

    #[test]
    fn a_length_beyond_the_data_takes_no_memory() {
        let data = [U256::from(32), U256::from(u64::MAX), U256::ZERO].map(|word| word.to_be_bytes::<32>()).concat();
        assert_eq!(bytes_list(&data), None);
    }
}
