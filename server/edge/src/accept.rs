//! Who may connect: limits on handshakes and connections.

use crate::connection::ConnectionTask;
use crate::edge::Inner;
use myriad_wire::CloseReason;
use myriad_wire::limits::DATAGRAM_BYTES_MAX;
use quinn::{Connection, Incoming, VarInt};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept_connections(edge: Arc<Inner>) {
    while let Some(incoming) = edge.endpoint.accept().await {
        let counters = &edge.counters;
        let under_way = edge.config.handshakes_max as usize - edge.handshakes.available_permits();
        if under_way >= edge.config.handshakes_retry_from as usize && !incoming.remote_address_validated() {
            counters.handshakes_retried.increment();
            // Refused only to those whose address is validated already.
            let _ = incoming.retry();
            continue;
        }
        match edge.handshakes.clone().try_acquire_owned() {
            Ok(handshake) => {
                tokio::spawn(serve(edge.clone(), incoming, handshake));
            }
            Err(_) => {
                counters.handshakes_ignored.increment();
                incoming.ignore();
            }
        }
    }
}

/// One connection's task, from its handshake to its end.
async fn serve(edge: Arc<Inner>, incoming: Incoming, handshake: OwnedSemaphorePermit) {
    let limit = edge.config.handshake_timeout;
    // The first part of the handshake's cryptography runs here and not in the accept loop.
    let connected = timeout(limit, async { incoming.accept()?.await }).await;
    drop(handshake);
    let Ok(Ok(connection)) = connected else {
        edge.counters.handshakes_failed.increment();
        return;
    };
    if connection
        .max_datagram_size()
        .is_none_or(|bytes| bytes < DATAGRAM_BYTES_MAX)
    {
        // It can't be sent states: not a client of this protocol.
        edge.counters.handshakes_failed.increment();
        close(&connection, CloseReason::Version);
        return;
    }
    let Ok(place) = edge.places.clone().try_acquire_owned() else {
        edge.counters.refused_full.increment();
        close(&connection, CloseReason::Full);
        return;
    };
    edge.counters.accepted.increment();
    ConnectionTask::run(&edge, connection).await;
    drop(place);
}

pub(crate) fn close(connection: &Connection, reason: CloseReason) {
    connection.close(VarInt::from_u32(reason.code()), reason.label().as_bytes());
}
