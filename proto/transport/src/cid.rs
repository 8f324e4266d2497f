//! Connection ids that say which shard serves the connection, to those who hold the key.
//!
//! Layout, 8 bytes: a nonce of 4, the shard's number under a mask, and a tag of 3. Mask and tag come from a keyed
//! hash (SipHash, with a key from the system), so that strangers can neither read nor choose a shard: one in
//! 16 million made-up ids passes, and then belongs to no connection. Two ids of one connection have nothing in common.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Bytes of an id.
pub(crate) const CID_BYTES: usize = 8;
const NONCE_BYTES: usize = 4;
const SHARD_AT: usize = NONCE_BYTES;
const TAG_AT: usize = SHARD_AT + 1;
/// The bit that tells a packet with a long header.
const LONG_HEADER: u8 = 0x80;
/// In a long header: where the length of the destination's id stands, behind the first byte and the version.
const LONG_CID_LENGTH_AT: usize = 5;

/// One of the threads that share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u8);

/// The key with which all shards of an address make and read ids. Clones are the same key.
#[derive(Clone, Debug)]
pub struct ShardKey {
    marks: RandomState,
    nonces: RandomState,
}

impl Default for ShardKey {
    fn default() -> Self {
        Self::new()
    }
}

impl ShardKey {
    /// A new key.
    #[must_use]
    pub fn new() -> Self {
        Self {
            marks: RandomState::new(),
            nonces: RandomState::new(),
        }
    }

    /// The shard that a packet's destination id names; none if this key did not make the id.
    #[must_use]
    pub fn shard_of(&self, packet: &[u8]) -> Option<ShardId> {
        self.decode(destination(packet)?)
    }

    fn encode(&self, shard: ShardId, nonce: u32) -> [u8; CID_BYTES] {
        let mut id = [0; CID_BYTES];
        id[..NONCE_BYTES].copy_from_slice(&nonce.to_le_bytes());
        id[SHARD_AT] = shard.0 ^ self.mask(nonce);
        id[TAG_AT..].copy_from_slice(&self.tag(nonce, shard));
        id
    }

    fn decode(&self, id: &[u8]) -> Option<ShardId> {
        let id: &[u8; CID_BYTES] = id.try_into().ok()?;
        let (nonce, rest) = id.split_first_chunk::<NONCE_BYTES>()?;
        let nonce = u32::from_le_bytes(*nonce);
        let shard = ShardId(rest[0] ^ self.mask(nonce));
        (rest[1..] == self.tag(nonce, shard)).then_some(shard)
    }

    fn mask(&self, nonce: u32) -> u8 {
        self.marks.hash_one(u64::from(nonce)).to_le_bytes()[0]
    }

    fn tag(&self, nonce: u32, shard: ShardId) -> [u8; CID_BYTES - TAG_AT] {
        // Never the mask's input, which is below 2^32.
        let input = 1 << 63 | u64::from(shard.0) << 32 | u64::from(nonce);
        let [first, second, third, ..] = self.marks.hash_one(input).to_le_bytes();
        [first, second, third]
    }
}

/// The destination's id in a packet: of ours it has [`CID_BYTES`].
fn destination(packet: &[u8]) -> Option<&[u8]> {
    if packet.first()? & LONG_HEADER == 0 {
        return packet.get(1..1 + CID_BYTES);
    }
    let length = *packet.get(LONG_CID_LENGTH_AT)?;
    let start = LONG_CID_LENGTH_AT + 1;
    packet.get(start..start + usize::from(length))
}

/// Makes the ids of one shard's connections.
#[derive(Debug)]
pub(crate) struct ShardCids {
    key: ShardKey,
    shard: ShardId,
    made: u64,
}

impl ShardCids {
    pub(crate) fn new(key: ShardKey, shard: ShardId) -> Self {
        Self { key, shard, made: 0 }
    }
}

impl ConnectionIdGenerator for ShardCids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made += 1;
        // A keyed hash of a counter is as good as random to those without the key. The endpoint asks again for an id
        // that it has already; another shard's differs by the shard.
        let nonce = self.key.nonces.hash_one((self.shard.0, self.made)) as u32;
        ConnectionId::new(&self.key.encode(self.shard, nonce))
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.key.decode(id).map(drop).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn every_shard_reads_what_any_shard_made(shard: u8, nonce: u32) {
            let key = ShardKey::new();
            let id = key.encode(ShardId(shard), nonce);
            prop_assert_eq!(key.clone().decode(&id), Some(ShardId(shard)));
            let mut short = vec![0x40];
            short.extend(id);
            short.extend([7; 30]);
            prop_assert_eq!(key.shard_of(&short), Some(ShardId(shard)));
            let mut long = vec![0xe0, 0, 0, 0, 1, 8];
            long.extend(id);
            prop_assert_eq!(key.shard_of(&long), Some(ShardId(shard)));
        }

        #[test]
        fn a_changed_id_is_nobodys(shard: u8, nonce: u32, bit in 0..64usize) {
            let key = ShardKey::new();
            let mut id = key.encode(ShardId(shard), nonce);
            id[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key.decode(&id), None);
            prop_assert_eq!(ShardKey::new().decode(&key.encode(ShardId(shard), nonce)), None);
        }

        #[test]
        fn any_bytes_are_read_without_harm(packet in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = ShardKey::new().shard_of(&packet);
        }
    }

    #[test]
    fn the_ids_of_two_shards_are_all_different_and_valid() {
        let key = ShardKey::new();
        let mut first = ShardCids::new(key.clone(), ShardId(0));
        let mut second = ShardCids::new(key, ShardId(1));
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            for generator in [&mut first, &mut second] {
                let id = generator.generate_cid();
                assert!(generator.validate(&id).is_ok());
                assert!(seen.insert(id));
            }
        }
    }
}
