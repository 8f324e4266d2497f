//! The gateways that read this lane, and the sessions they speak for.

use myriad_wire::link::Link;
use myriad_wire::{GatewayId, Incarnation, Tick};
use std::collections::BTreeMap;

/// A gateway that reads this lane.
#[derive(Debug)]
pub(crate) struct Reader {
    /// This end of the link.
    pub(crate) link: Link,
    /// When it was last heard.
    pub(crate) last_heard: Tick,
    /// It must be sent a full copy: a keyframe and all its routes.
    pub(crate) wants_full: bool,
}

/// All readers. Ordered, so that every run sends in the same order.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    by_gateway: BTreeMap<GatewayId, Reader>,
    /// The highest stream of any reader that was forgotten. A gateway that comes back after a long silence still
    /// knows its old stream, and would take a lower one for repetition.
    forgotten_stream: Option<u64>,
}

impl Readers {
    /// The reader for `gateway`, made on its first message.
    pub(crate) fn heard(&mut self, gateway: GatewayId, incarnation: Incarnation, now: Tick) -> &mut Reader {
        let forgotten = self.forgotten_stream;
        let reader = self.by_gateway.entry(gateway).or_insert_with(|| Reader {
            link: forgotten.map_or_else(
                || Link::new(incarnation),
                |stream| Link::after(incarnation, stream),
            ),
            last_heard: now,
            wants_full: true,
        });
        reader.last_heard = now;
        reader
    }

    /// A session of `gateway` came from another lane: if the gateway is not heard here, its silence counts from `now` on.
    pub(crate) fn expect(&mut self, gateway: GatewayId, incarnation: Incarnation, now: Tick) {
        if !self.by_gateway.contains_key(&gateway) {
            self.heard(gateway, incarnation, now);
        }
    }

    /// Removes and names the gateways not heard for more than `silence_ticks`.
    pub(crate) fn remove_silent(&mut self, now: Tick, silence_ticks: u64) -> Vec<GatewayId> {
        let silent = |reader: &Reader| now.since(reader.last_heard) > silence_ticks;
        let gone: Vec<GatewayId> = self
            .by_gateway
            .iter()
            .filter(|(_, reader)| silent(reader))
            .map(|(gateway, _)| *gateway)
            .collect();
        for gateway in &gone {
            let reader = self.by_gateway.remove(gateway).expect("listed above");
            self.forgotten_stream = self.forgotten_stream.max(Some(reader.link.stream()));
        }
        gone
    }

    /// All of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (GatewayId, &mut Reader)> {
        self.by_gateway
            .iter_mut()
            .map(|(gateway, reader)| (*gateway, reader))
    }

    /// Whether this gateway is one.
    pub(crate) fn has(&self, gateway: GatewayId) -> bool {
        self.by_gateway.contains_key(&gateway)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.by_gateway.len()
    }
}
