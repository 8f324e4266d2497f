//! Connection ids that name the shard and its driver's key: nobody has to look one up.

use myriad_gateway::ConnId;
use myriad_transport::{ConnectionKey, ShardId};

/// From the lowest bit: the key's index, its generation, the shard.
const INDEX_BITS: u32 = 24;
const SHARD_SHIFT: u32 = INDEX_BITS + u32::BITS;

pub(crate) fn conn_of(shard: ShardId, key: ConnectionKey) -> ConnId {
    let index = key.index() as u64;
    assert!(
        index < 1 << INDEX_BITS,
        "fewer connections than the limit of the configuration"
    );
    ConnId(u64::from(shard.0) << SHARD_SHIFT | u64::from(key.generation()) << INDEX_BITS | index)
}

pub(crate) fn shard_of(conn: ConnId) -> usize {
    (conn.0 >> SHARD_SHIFT) as usize
}

pub(crate) fn key_of(conn: ConnId) -> ConnectionKey {
    let index = conn.0 & ((1 << INDEX_BITS) - 1);
    // Both fit: the rest is cut off on purpose.
    ConnectionKey::from_parts(index as u32, (conn.0 >> INDEX_BITS) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_gives_back_its_parts(shard: u8, index in 0..1u32 << INDEX_BITS, generation: u32) {
            let key = ConnectionKey::from_parts(index, generation);
            let conn = conn_of(ShardId(shard), key);
            prop_assert_eq!(shard_of(conn), usize::from(shard));
            prop_assert_eq!(key_of(conn), key);
        }
    }
}
