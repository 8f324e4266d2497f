//! A UDP socket, ready for batches.

use crate::Counters;
use mio::{Interest, Registry, Token};
use quinn_proto::Transmit;
use quinn_udp::{EcnCodepoint, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::SocketAddr;

/// Most bytes of a burst: what a UDP datagram can hold, since that is how the system is given it.
const BURST_BYTES_MAX: usize = 65_000;

/// A socket at `local`, with buffers of this size each way, as far as the system allows. If it is `shared`, others may
/// be bound to the same address, and the system spreads senders over them.
///
/// # Errors
/// If the system does not give it.
pub fn bind_udp(local: SocketAddr, buffer_bytes: usize, shared: bool) -> io::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if shared {
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        #[cfg(not(unix))]
        return Err(io::ErrorKind::Unsupported.into());
    }
    socket.bind(&local.into())?;
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_send_buffer_size(buffer_bytes)?;
    // Linux doubles what it grants, for its bookkeeping.
    let bookkeeping = if cfg!(target_os = "linux") { 2 } else { 1 };
    let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?) / bookkeeping;
    if granted < buffer_bytes {
        tracing::warn!(
            wanted = buffer_bytes,
            granted,
            "the system grants smaller socket buffers; bursts may lose packets"
        );
    }
    Ok(socket.into())
}

#[derive(Debug)]
pub(crate) struct Socket {
    io: mio::net::UdpSocket,
    state: UdpSocketState,
    /// It may have packets; the system tells only that there are new ones.
    pub(crate) readable: bool,
    /// The burst that the system did not take. While there is one, nothing else is sent.
    held: Option<(Transmit, Vec<u8>)>,
    /// Connections that have something to send once it does. Each at most once: they stay marked as dirty.
    pub(crate) waiting: Vec<u32>,
}

/// What became of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The system took it, or it is lost, as any packet may be.
    Gone,
    /// It is held until the system takes it.
    Held,
}

impl Socket {
    pub(crate) fn new(socket: std::net::UdpSocket, registry: &Registry, token: Token) -> io::Result<Self> {
        // Sets what QUIC needs, among it that the socket does not block.
        let state = UdpSocketState::new((&socket).into())?;
        let mut io = mio::net::UdpSocket::from_std(socket);
        // Not for writing: the system would wake this thread for each packet that has left.
        registry.register(&mut io, token, Interest::READABLE)?;
        Ok(Self {
            io,
            state,
            readable: true,
            held: None,
            waiting: Vec::new(),
        })
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.io)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the system promises not to cut packets up.
    pub(crate) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Most packets of `mtu` bytes in one burst.
    pub(crate) fn burst_packets_max(&self, mtu: u16) -> usize {
        let fitting = BURST_BYTES_MAX / usize::from(mtu.max(1));
        self.state.max_gso_segments().min(fitting).max(1)
    }

    /// Receives a batch.
    pub(crate) fn receive(
        &self,
        buffers: &mut [io::IoSliceMut<'_>],
        metas: &mut [quinn_udp::RecvMeta],
    ) -> io::Result<usize> {
        self.state.recv((&self.io).into(), buffers, metas)
    }

    /// Sends a burst, whose bytes are the first of `packet`. If it must be held, takes `packet` and leaves an empty
    /// one. Not while blocked.
    pub(crate) fn send(
        &mut self,
        transmit: Transmit,
        packet: &mut Vec<u8>,
        registry: &Registry,
        token: Token,
        counters: &mut Counters,
    ) -> Sent {
        assert!(self.held.is_none(), "a blocked socket is not sent to");
        if self.try_send(&transmit, packet, counters) {
            return Sent::Gone;
        }
        counters.sends_blocked += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.reregister(&mut self.io, token, interest) {
            // Without a wake-up nothing would ever be sent again; a lost burst is repaired by QUIC.
            tracing::warn!("can't wait for a socket to be writable: {error}");
            counters.sends_failed += packets_of(&transmit);
            return Sent::Gone;
        }
        self.held = Some((transmit, std::mem::take(packet)));
        Sent::Held
    }

    /// The system may take packets again: sends what is held. Answers whether nothing is held any more.
    pub(crate) fn handle_writable(
        &mut self,
        registry: &Registry,
        token: Token,
        counters: &mut Counters,
    ) -> bool {
        let Some((transmit, packet)) = self.held.take() else {
            return true;
        };
        if !self.try_send(&transmit, &packet, counters) {
            self.held = Some((transmit, packet));
            return false;
        }
        if let Err(error) = registry.reregister(&mut self.io, token, Interest::READABLE) {
            tracing::debug!("a socket still tells when it is writable: {error}");
        }
        true
    }

    /// `false` if the system takes nothing at the moment.
    fn try_send(&self, transmit: &Transmit, packet: &[u8], counters: &mut Counters) -> bool {
        let udp = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents: &packet[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let packets = packets_of(transmit);
        match self.state.try_send((&self.io).into(), &udp) {
            Ok(()) => {
                counters.packets_sent += packets;
                counters.send_calls += 1;
                counters.sent_bytes += transmit.size as u64;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                counters.sends_failed += packets;
                tracing::debug!(destination = %transmit.destination, "a burst was not sent: {error}");
                true
            }
        }
    }
}

fn packets_of(transmit: &Transmit) -> u64 {
    let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
    transmit.size.div_ceil(segment) as u64
}
