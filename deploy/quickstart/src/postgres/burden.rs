//! What makes the query slow in a drill: twenty times as many orders.

use super::{DATABASE, SUPERUSER};
use anyhow::Context as _;
use std::net::Ipv4Addr;
use tokio::net::TcpStream;
use tokio::signal::unix::Signal;
use tokio_postgres::NoTls;

/// In the same months, so that the answer has as many rows as before.
const MORE_ORDERS: &str = "INSERT INTO orders SELECT n, timestamptz '2026-01-01 00:00:00+00' + n % 100000 * interval '1 minute', \
     n::bigint * 7919 % 100000 FROM generate_series(100001, 2000000) AS n";

/// Makes the query slow when the signal comes; returns only when that fails.
pub(super) async fn when_asked(mut asked: Signal, port: u16, password: &str) -> anyhow::Result<()> {
    asked.recv().await;
    add_orders(port, password).await.context("the table cannot be made larger")?;
    std::future::pending().await
}

async fn add_orders(port: u16, password: &str) -> anyhow::Result<()> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut config = tokio_postgres::Config::new();
    config.user(SUPERUSER).password(password).dbname(DATABASE);
    let (client, connection) = config.connect_raw(stream, NoTls).await?;
    let inserted = async move { client.batch_execute(MORE_ORDERS).await };
    // The connection ends when the client is gone.
    let (inserted, connected) = tokio::join!(inserted, connection);
    inserted.and(connected)?;
    Ok(())
}
