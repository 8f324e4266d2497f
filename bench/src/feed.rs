//! Reads the truth traces from the admin servers, each on a thread of its own, into a [`Truth`] that all bots look at.

use crate::cpu;
use crate::options::AdminServer;
use crate::truth::Truth;
use anyhow::{Context, bail};
use myriad_client::quic::now_us;
use myriad_wire::codec;
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::truth::TruthTick;
use std::io::Read;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

/// How long the admin server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The truth so far, and how its trace is doing. Empty if there is no trace.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub(crate) truth: RwLock<Truth>,
    /// Why a trace ended, once one has.
    ended: Mutex<Option<String>>,
    threads: Mutex<Vec<u32>>,
}

impl Feed {
    /// Starts reading from each node. A thread ends when its trace does, or at the first tick after the feed was dropped.
    ///
    /// # Errors
    /// If an admin server can't be reached or refuses.
    pub(crate) fn start(sources: &[AdminServer]) -> anyhow::Result<Arc<Self>> {
        let feed = Arc::new(Self::default());
        for source in sources {
            feed.follow(source)?;
        }
        Ok(feed)
    }

    fn follow(self: &Arc<Self>, source: &AdminServer) -> anyhow::Result<()> {
        let reader = open(source)?;
        let weak = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("bots-truth".into())
            .spawn(move || {
                if let Some(feed) = weak.upgrade() {
                    feed.threads.lock().expect(UNPOISONED).push(cpu::thread_id());
                }
                let why = read(reader, |tick, now_us| match weak.upgrade() {
                    Some(feed) => feed.handle_tick(tick, now_us),
                    None => bail!("nobody wants it any more"),
                });
                if let Some(feed) = weak.upgrade() {
                    *feed.ended.lock().expect(UNPOISONED) = Some(format!("{why:#}"));
                }
            })
            .context("a thread for the truth trace")?;
        Ok(())
    }

    fn handle_tick(&self, tick: &TruthTick, now_us: u64) -> anyhow::Result<()> {
        let mut truth = self.truth.write().expect(UNPOISONED);
        truth
            .handle_tick(tick, now_us)
            .map_err(|bad| anyhow::anyhow!(bad.0))
    }

    /// Why a trace ended, if one has.
    pub(crate) fn ended(&self) -> Option<String> {
        self.ended.lock().expect(UNPOISONED).clone()
    }

    /// The numbers of the reading threads.
    pub(crate) fn threads(&self) -> Vec<u32> {
        self.threads.lock().expect(UNPOISONED).clone()
    }
}

/// Of every lock in this crate.
pub(crate) const UNPOISONED: &str = "a panic of a bot ends the run";

fn open(source: &AdminServer) -> anyhow::Result<impl Read + Send + 'static> {
    let url = format!("{}/truth", source.url.trim_end_matches('/'));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(ANSWER_MAX))
        .timeout_recv_response(Some(ANSWER_MAX))
        .build()
        .into();
    let mut request = agent.get(&url);
    if let Some(token) = &source.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let response = request.call().map_err(|error| match error {
        ureq::Error::StatusCode(401 | 403) => anyhow::anyhow!("{url}: the token was refused"),
        ureq::Error::StatusCode(404) => {
            anyhow::anyhow!(
                "{url}: not found; the truth trace must be enabled by name in the server's config"
            )
        }
        error => anyhow::Error::new(error).context(format!("reading {url}")),
    })?;
    Ok(response.into_body().into_reader())
}

/// Reads records of a length (u32, little endian) and a tick until something ends it, and says what.
fn read(mut reader: impl Read, mut each: impl FnMut(&TruthTick, u64) -> anyhow::Result<()>) -> anyhow::Error {
    let mut record = Vec::new();
    loop {
        let next = read_record(&mut reader, &mut record).and_then(|()| {
            codec::decode(&record, NODE_MESSAGE_BYTES_MAX).context("a record that is not a tick of truth")
        });
        if let Err(why) = next.and_then(|tick| each(&tick, now_us())) {
            return why;
        }
    }
}

fn read_record(reader: &mut impl Read, record: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut length = [0; codec::LENGTH_BYTES];
    reader
        .read_exact(&mut length)
        .context("the server ended the trace")?;
    let length = u32::from_le_bytes(length) as usize;
    if length > NODE_MESSAGE_BYTES_MAX {
        bail!("a record of {length} bytes exceeds the limit of {NODE_MESSAGE_BYTES_MAX}");
    }
    record.resize(length, 0);
    reader
        .read_exact(record)
        .context("the server ended the trace within a record")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::tests::told;

    fn read_all(bytes: &[u8]) -> (Vec<TruthTick>, String) {
        let mut ticks = Vec::new();
        let why = read(bytes, |tick, _| {
            ticks.push(tick.clone());
            Ok(())
        });
        (ticks, format!("{why:#}"))
    }

    #[test]
    fn records_are_read_one_by_one_until_the_end() {
        let ticks = vec![told(1, &[(0.0, 0.0)]), told(2, &[])];
        let mut bytes = Vec::new();
        ticks.iter().for_each(|tick| codec::frame_into(tick, &mut bytes));
        let (read, why) = read_all(&bytes);
        assert_eq!(read, ticks);
        assert!(why.contains("ended the trace"), "{why}");
    }

    #[test]
    fn a_cut_a_huge_and_a_senseless_record_end_the_trace_with_a_reason() {
        let mut bytes = Vec::new();
        codec::frame_into(&told(1, &[(0.0, 0.0)]), &mut bytes);
        assert!(read_all(&bytes[..bytes.len() - 1]).1.contains("within a record"));
        assert!(read_all(&u32::MAX.to_le_bytes()).1.contains("exceeds"));
        assert!(read_all(&[1, 0, 0, 0, 255]).1.contains("not a tick"));
    }
}
