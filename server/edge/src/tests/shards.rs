//! Several shards behind one address.

use super::{Client, Server, framed, patiently, read_message};
use bytes::Bytes;
use myriad_gateway::{ClientInput, ClientOutput};
use quinn::Endpoint;
use std::net::{Ipv4Addr, UdpSocket};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_keeps_its_connection_whichever_shard_its_new_address_reaches() {
    let server = Server::start_with(|config| config.shards = 4);
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connecting = endpoint.connect_with(server.client_config.clone(), server.address(), "localhost");
    let connection = patiently(connecting.unwrap()).await.unwrap();
    let conn = server.event().await.conn;
    let client = Client { connection, conn };
    let (mut send, mut recv) = client.open(&server).await;
    let handed_over = || server.edge.counters().packets_handed_over.get();
    let mut round = 0u8;
    // The system spreads addresses by chance: one in four reaches the client's own shard.
    while handed_over() == 0 {
        endpoint
            .rebind(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .unwrap();
        round += 1;
        send.write_all(&framed(&[round])).await.unwrap();
        server
            .expect(conn, ClientInput::Message(Bytes::copy_from_slice(&[round])))
            .await;
        server.send(conn, &[round; 1000]);
        assert_eq!(read_message(&mut recv).await, [round; 1000]);
    }
    assert_eq!(server.edge.connections(), 1);
    assert_eq!(server.edge.counters().accepted.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_share_clients_outputs_and_proofs_of_address() {
    let server = Server::start_with(|config| {
        config.shards = 3;
        config.handshakes_retry_from = 0;
    });
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(server.connect().await);
    }
    assert_eq!(server.edge.counters().handshakes_retried.get(), 12);
    let mut outputs: Vec<_> = clients
        .iter()
        .map(|client| {
            let datagram = client.conn.0.to_le_bytes();
            ClientOutput::Datagram(client.conn, Bytes::copy_from_slice(&datagram))
        })
        .collect();
    server.edge.send_all(&mut outputs);
    assert!(outputs.is_empty());
    for client in &clients {
        let datagram = patiently(client.connection.read_datagram()).await.unwrap();
        assert_eq!(*datagram, client.conn.0.to_le_bytes());
    }
    assert_eq!(server.edge.connections(), clients.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_packets_of_nobody_leaves_nothing_behind() {
    let server = Server::start_with(|config| config.shards = 2);
    let honest = server.connect().await;
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for number in 0..20_000u32 {
        // Short headers with ids of nobody, and first packets whose rest is nonsense.
        let mut packet = vec![number as u8; 1200];
        packet[0] = 0x40;
        packet[1..5].copy_from_slice(&number.to_le_bytes());
        if number % 2 == 0 {
            packet[..6].copy_from_slice(&[0xc0, 0, 0, 0, 1, 8]);
            packet[6..10].copy_from_slice(&number.to_le_bytes());
        }
        // The system may have no room for so many.
        let _ = stranger.send_to(&packet, server.address());
    }
    let _stream = honest.open(&server).await;
    assert_eq!(server.edge.connections(), 1);
    assert_eq!(server.edge.counters().accepted.get(), 1);
    assert_eq!(server.edge.arrivals_waiting(), 0);
}
