//! The socket to a broker: connects only to permitted addresses, and inspects what the broker sends.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_rs::traits::{AsyncToSocketAddrs, Reactor};
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use lapin::AsyncTcpStream;
use lapin::tcp::OwnedTLSConfig;

use super::Login;
use super::inspect::Inspector;
use crate::destination::is_here;

/// Bytes that are read at a time.
const PIECE: usize = 16 << 10;

/// The runtime that lapin is given: tokio's, with streams that are inspected.
pub type InspectedRuntime = Runtime<RuntimeParts<Tokio, Inspecting>>;

/// tokio's timers and sockets, with streams that are inspected.
#[derive(Debug, Clone)]
pub struct Inspecting(Tokio);

/// The runtime for one connection.
pub fn runtime() -> InspectedRuntime {
    Runtime::new(RuntimeParts::new(Tokio::current(), Inspecting(Tokio::current())))
}

/// Connects, with TLS if the address says so. Plain text is sent only to an address of this machine, unless permitted
/// otherwise: this checks the address that the name resolves to, at each connection.
///
/// # Errors
/// No address answers, or plain text may not be sent to any of them.
pub async fn connect(login: &Login) -> io::Result<AsyncTcpStream<Inspected>> {
    let (address, runtime) = (&login.address, Runtime::new(Tokio::current()));
    let found = runtime.to_socket_addrs((address.host.clone(), address.port)).to_socket_addrs().await?;
    let is_open = |at: &SocketAddr| address.tls || login.plaintext || is_here(at);
    let (open, closed): (Vec<_>, Vec<_>) = found.partition(is_open);
    if open.is_empty() && !closed.is_empty() {
        return Err(io::Error::other("its name leads to another machine now, and the address has no TLS"));
    }
    let stream = AsyncTcpStream::connect(&runtime, open).await?;
    let stream = if address.tls {
        let tls = OwnedTLSConfig { cert_chain: login.ca.clone(), identity: None };
        stream.into_tls(&address.host, tls.as_ref()).await?
    } else {
        stream
    };
    Ok(AsyncTcpStream::Plain(Inspected::new(stream)))
}

/// A stream of which lapin reads only what was inspected.
pub struct Inspected {
    stream: AsyncTcpStream<<Tokio as Reactor>::TcpStream>,
    inspector: Inspector,
    /// Inspected bytes, and how many of them were read.
    checked: Vec<u8>,
    read: usize,
}

impl Inspected {
    fn new(stream: AsyncTcpStream<<Tokio as Reactor>::TcpStream>) -> Self {
        Self { stream, inspector: Inspector::default(), checked: Vec::new(), read: 0 }
    }
}

impl AsyncRead for Inspected {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        while this.read == this.checked.len() {
            this.checked.clear();
            this.read = 0;
            let mut piece = [0; PIECE];
            match Pin::new(&mut this.stream).poll_read(cx, &mut piece) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                Poll::Ready(Ok(bytes)) => this
                    .inspector
                    .receive(&piece[..bytes], &mut this.checked)
                    .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?,
                other => return other,
            }
        }
        let bytes = buffer.len().min(this.checked.len() - this.read);
        buffer[..bytes].copy_from_slice(&this.checked[this.read..this.read + bytes]);
        this.read += bytes;
        Poll::Ready(Ok(bytes))
    }
}

impl AsyncWrite for Inspected {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.inspector.sent(&bytes[..*count]);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        if let Poll::Ready(Ok(count)) = &written {
            let mut left = *count;
            for piece in pieces {
                let sent = left.min(piece.len());
                self.inspector.sent(&piece[..sent]);
                left -= sent;
            }
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl Reactor for Inspecting {
    type TcpStream = Inspected;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Inspected::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}
