//! HTTP/1.1 as bytes on a blocking socket, for either end of the gateway. Every wait is on the socket; the read
//! timeout only keeps a test that fails from hanging.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::SockRef;

/// No wait of a test that passes is this long.
pub const HANG: Duration = Duration::from_secs(10);

/// What bytes go over.
pub trait Socket: Read + Write + Send {}
impl<T: Read + Write + Send> Socket for T {}

/// One connection.
pub struct Wire {
    socket: Box<dyn Socket>,
    tcp: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// A request line or status line, and the fields below it.
#[derive(Clone, Debug)]
pub struct Head {
    pub first: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line")
    }

    pub fn path(&self) -> &str {
        self.first.split(' ').nth(1).expect("a request line")
    }
}

impl Wire {
    pub fn tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(HANG)).expect("an option");
        let tcp = stream.try_clone().expect("a handle");
        Self { socket: Box::new(stream), tcp: Some(tcp), buffer: Vec::new() }
    }

    pub fn unix(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(HANG)).expect("an option");
        Self { socket: Box::new(stream), tcp: None, buffer: Vec::new() }
    }

    pub fn over(socket: impl Socket + 'static) -> Self {
        Self { socket: Box::new(socket), tcp: None, buffer: Vec::new() }
    }

    pub fn socket(&self) -> &TcpStream {
        self.tcp.as_ref().expect("a TCP connection")
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)?;
        self.socket.flush()
    }

    /// Writes what the peer takes; `false` once it has taken nothing for `patience`.
    pub fn offer(&mut self, bytes: &[u8], patience: Duration) -> io::Result<usize> {
        self.socket().set_write_timeout(Some(patience))?;
        match self.socket.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Closes so that the peer gets a reset.
    pub fn reset(self) {
        SockRef::from(self.socket()).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    /// Reads once. 0 at the end.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let read = self.socket.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read)
    }

    fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..end + 2).take(end).collect();
                return Ok(Some(String::from_utf8(line).expect("text")));
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next head; `None` when the peer has closed.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(first) = self.line()? else { return Ok(None) };
        let mut fields = Vec::new();
        loop {
            let line = self.line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let Some((name, value)) = line.split_once(':') else { break };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Head { first, fields }))
    }

    pub fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// The next chunk of a chunked body; empty for the last.
    pub fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = self.line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = usize::from_str_radix(line.trim(), 16).expect("a chunk's length");
        let chunk = self.exactly(length)?;
        assert_eq!(self.line()?.ok_or(io::ErrorKind::UnexpectedEof)?, "", "the end of a chunk");
        Ok(chunk)
    }

    /// Whatever has come; empty at the end.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Waits until the peer has closed or reset the connection, whatever it sends before.
    pub fn until_closed(&mut self) {
        loop {
            match self.fill() {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the peer keeps the connection"),
                Err(_) => return,
            }
        }
    }
}
