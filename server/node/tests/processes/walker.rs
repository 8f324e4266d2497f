//! A client through the SDK, driven by a test.

use crate::server::Server;
use myriad_client::quic::{Connection, Connector, ServerTrust, Waited};
use myriad_client::{ClientConfig, ClientEvent};
use myriad_wire::{CloseReason, SpaceId};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// A client that has joined.
pub(crate) struct Walker {
    pub(crate) connection: Connection,
    /// Everything it was told, in order.
    pub(crate) events: Vec<ClientEvent>,
}

/// Connects clients to one server.
pub(crate) struct Door {
    connector: Connector,
    address: SocketAddr,
}

impl Door {
    pub(crate) fn of(server: &Server) -> Self {
        let trust = ServerTrust::Fingerprint(server.fingerprint());
        Self {
            connector: Connector::bind((Ipv4Addr::LOCALHOST, 0).into(), &trust).expect("a socket"),
            address: server.client(),
        }
    }

    /// Logs `account` in and joins.
    pub(crate) async fn join(&self, account: &str) -> Walker {
        let config = ClientConfig {
            account: account.into(),
            key: String::new(),
            space: SpaceId(1),
            agent: "myriad-test".into(),
        };
        let mut connection = self
            .connector
            .connect(self.address, "localhost", config)
            .await
            .expect("the server accepts");
        connection
            .join(Duration::from_secs(20))
            .await
            .expect("the avatar joins");
        let mut walker = Walker {
            connection,
            events: Vec::new(),
        };
        walker.note();
        walker
    }
}

impl Walker {
    fn note(&mut self) {
        while let Some(event) = self.connection.core().poll_event() {
            self.events.push(event);
        }
    }

    /// Listens for `time`, or until the connection closes.
    pub(crate) async fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let waited = self.connection.wait(until).await;
            self.note();
            match waited {
                Waited::Arrived => {}
                Waited::TimeUp | Waited::Closed => return,
            }
        }
    }

    /// Listens until `done` says so; panics after 30 s.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            let step = Instant::now() + Duration::from_millis(50);
            self.connection.wait(step.min(deadline)).await;
            self.note();
        }
    }

    /// Takes steps of (`dx`, `dz`) position units, one every `period`.
    pub(crate) async fn walk(&mut self, steps: u32, period: Duration, dx: i32, dz: i32) {
        for _ in 0..steps {
            self.connection.core().step(dx, dz).expect("an honest step");
            self.connection.flush();
            self.listen(period).await;
        }
    }

    /// Why the connection closed, if it did.
    pub(crate) fn closed(&mut self) -> Option<CloseReason> {
        self.connection.core().closed()
    }
}
