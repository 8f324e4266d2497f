//! A client through the SDK, driven by a test.

use crate::server::{PATIENCE, Server};
use myriad_client::quic::{ConnectError, Connection, Connector, ServerTrust, Waited};
use myriad_client::{ClientConfig, ClientEvent, CrowdEdges};
use myriad_wire::client::{Joined, LeaveReason};
use myriad_wire::{CloseReason, CommandSeq, EntityId, IntentSeq, Pos, SpaceId, Tick, Value};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait before a condition that no event announces is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Connects clients to one server.
#[derive(Clone)]
pub(crate) struct Door {
    connector: Connector,
    address: SocketAddr,
    key: String,
}

impl Door {
    pub(crate) fn of(server: &Server) -> Self {
        let trust = ServerTrust::Fingerprint(server.fingerprint());
        let connector = Connector::bind((Ipv4Addr::LOCALHOST, 0).into(), &trust).expect("a socket");
        Self {
            connector,
            address: server.client(),
            key: String::new(),
        }
    }

    /// The same, for clients that show `key`.
    pub(crate) fn with_key(self, key: &str) -> Self {
        Self {
            key: key.into(),
            ..self
        }
    }

    /// Logs `account` in and joins.
    pub(crate) async fn join(&self, account: &str) -> Walker {
        self.try_join(account).await.expect("the avatar joins")
    }

    /// Logs all `accounts` in at the same time.
    pub(crate) async fn join_all(&self, accounts: impl IntoIterator<Item = String>) -> Vec<Walker> {
        let join = |account: String| {
            let door = self.clone();
            tokio::spawn(async move { door.join(&account).await })
        };
        let joining: Vec<_> = accounts.into_iter().map(join).collect();
        let mut walkers = Vec::new();
        for one in joining {
            walkers.push(one.await.expect("it joins"));
        }
        walkers
    }

    /// Tries to log `account` in and to join.
    pub(crate) async fn try_join(&self, account: &str) -> Result<Walker, ConnectError> {
        let config = ClientConfig {
            account: account.into(),
            key: self.key.clone(),
            space: SpaceId(1),
            agent: "myriad-test".into(),
            identities_per_s: myriad_client::DEFAULT_IDENTITIES_PER_S,
            crowd_edges: CrowdEdges::OneByOne,
        };
        let mut connection = self.connector.connect(self.address, "localhost", config).await?;
        connection.join(PATIENCE).await?;
        let mut walker = Walker {
            connection,
            events: Vec::new(),
        };
        walker.note();
        Ok(walker)
    }
}

/// A client that has joined. Only while one of its methods runs does it read.
pub(crate) struct Walker {
    pub(crate) connection: Connection,
    /// Everything it was told, in order.
    pub(crate) events: Vec<ClientEvent>,
}

impl Walker {
    fn note(&mut self) {
        while let Some(event) = self.connection.core().poll_event() {
            self.events.push(event);
        }
    }

    /// Reads what has arrived, without waiting for more.
    pub(crate) async fn catch_up(&mut self) {
        while self.connection.wait(Instant::now()).await == Waited::Arrived {
            self.note();
        }
        self.note();
    }

    /// Listens until `done` says so.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if done(self) {
                return;
            }
            let closed = self.closed();
            assert!(
                closed.is_none() && Instant::now() < deadline,
                "waited in vain until {what}: {closed:?}, {:?}",
                self.connection.core().counters()
            );
            self.connection
                .wait(deadline.min(Instant::now() + LOOK_AGAIN))
                .await;
            self.note();
        }
    }

    /// Listens until the space is so many ticks further.
    pub(crate) async fn for_ticks(&mut self, ticks: u64) {
        let until = self.seen_tick() + ticks;
        self.until("the ticks go on", |walker| walker.seen_tick() >= until)
            .await;
        assert_eq!(self.closed(), None);
    }

    /// Takes a step of (`dx`, `dz`) position units.
    pub(crate) fn step(&mut self, dx: i32, dz: i32) -> IntentSeq {
        let seq = self
            .connection
            .core()
            .step(dx, dz)
            .expect("a step that may be sent");
        self.connection.flush();
        seq
    }

    /// Listens until the server has applied intent `seq`.
    pub(crate) async fn until_applied(&mut self, seq: IntentSeq) {
        self.until("the steps are applied", |walker| walker.own().0 >= seq)
            .await;
    }

    /// Has a command done that the game accepts.
    pub(crate) async fn command(&mut self, name: &str, arguments: Vec<Value>) {
        let refused = self.try_command(name, arguments).await;
        assert_eq!(refused, None, "{name}");
    }

    /// Sends a command, and answers why the game refused it, if it did.
    pub(crate) async fn try_command(&mut self, name: &str, arguments: Vec<Value>) -> Option<String> {
        let sent = self
            .connection
            .core()
            .command(name, arguments)
            .expect("a command that may be sent");
        let mut answer = None;
        self.until("the command is answered", |walker| {
            answer = walker.answer(sent);
            answer.is_some()
        })
        .await;
        answer.expect("just found")
    }

    fn answer(&self, sent: CommandSeq) -> Option<Option<String>> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::CommandResult { seq, refused } if *seq == sent => Some(refused.clone()),
            _ => None,
        })
    }

    /// What it was told at its join.
    pub(crate) fn joined(&mut self) -> Joined {
        self.connection.core().joined().expect("it has joined").clone()
    }

    /// Its avatar.
    pub(crate) fn entity(&mut self) -> EntityId {
        self.joined().entity
    }

    /// The newest tick of which it has read anything.
    pub(crate) fn seen_tick(&mut self) -> Tick {
        self.connection.core().seen_tick().unwrap_or(Tick(0))
    }

    /// The last intent that the server applied, and where its avatar was then.
    pub(crate) fn own(&mut self) -> (IntentSeq, Pos) {
        self.connection
            .core()
            .own_authoritative()
            .expect("it is told every tick")
    }

    /// A public property of the subject that is `entity`, if it is in view and has one.
    pub(crate) fn property(&mut self, entity: EntityId, name: &str) -> Option<Value> {
        let kinds = self.joined().kinds;
        let subject = self
            .connection
            .core()
            .view()
            .iter()
            .find(|subject| subject.entity() == Some(entity))?;
        let kind = &kinds[usize::from(subject.kind().0)];
        let index = kind
            .properties
            .iter()
            .position(|property| property.name == name)?;
        subject.property(myriad_wire::PropertyIndex(index as u8)).cloned()
    }

    /// Whether the subject that is `entity` is in view.
    pub(crate) fn sees(&mut self, entity: EntityId) -> bool {
        self.connection
            .core()
            .view()
            .iter()
            .any(|subject| subject.entity() == Some(entity))
    }

    /// All leaves of `entity` that it was told.
    pub(crate) fn leaves(&self, entity: EntityId) -> Vec<(Tick, LeaveReason)> {
        let leave = |event: &ClientEvent| match event {
            ClientEvent::Leave {
                tick,
                entity: gone,
                reason,
                ..
            } if *gone == Some(entity) => Some((*tick, *reason)),
            _ => None,
        };
        self.events.iter().filter_map(leave).collect()
    }

    /// How often it was told that `entity` entered.
    pub(crate) fn enters(&self, entity: EntityId) -> usize {
        let enter = |event: &&ClientEvent| matches!(event, ClientEvent::Enter { entity: come, .. } if *come == Some(entity));
        self.events.iter().filter(enter).count()
    }

    /// Why the connection closed, if it did.
    pub(crate) fn closed(&mut self) -> Option<CloseReason> {
        self.connection.core().closed()
    }
}
