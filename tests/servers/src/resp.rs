//! Just enough of RESP2 to tell a server what to do, so that the harness does not lean on the client under test.

use std::{io, pin::Pin};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A simple string: `OK`, `PONG`.
    Text(String),
    /// A bulk string.
    Bytes(Vec<u8>),
    /// An integer.
    Int(i64),
    /// A null bulk string or a null array.
    Nil,
    /// An array.
    List(Vec<Reply>),
    /// An error, with its code first: `NOAUTH Authentication required.`
    Error(String),
}

impl Reply {
    /// Its text, when it is a string of either sort; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::Int(_) | Self::Nil | Self::List(_) | Self::Error(_) => None,
        }
    }

    /// The same reply, for a command that must not be refused.
    ///
    /// # Panics
    ///
    /// When it is an error.
    #[track_caller]
    pub fn accepted(self) -> Self {
        match self {
            Self::Error(error) => panic!("the server refused: {error}"),
            other => other,
        }
    }
}

/// One connection to a server's Unix socket.
pub(crate) struct Connection(BufReader<UnixStream>);

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) async fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Reply> {
        let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            let argument = argument.as_ref();
            request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            request.extend_from_slice(argument);
            request.extend_from_slice(b"\r\n");
        }
        self.0.write_all(&request).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let line = self.line().await?;
        let Some((tag, rest)) = line.split_at_checked(1) else { return Err(malformed(&line)) };
        match tag {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            ":" => Ok(Reply::Int(rest.parse().map_err(|_| malformed(&line))?)),
            "$" | "*" if rest == "-1" => Ok(Reply::Nil),
            "$" => self.bytes(rest.parse().map_err(|_| malformed(&line))?).await,
            "*" => self.list(rest.parse().map_err(|_| malformed(&line))?).await,
            _ => Err(malformed(&line)),
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn bytes(&mut self, length: usize) -> io::Result<Reply> {
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        Ok(Reply::Bytes(bytes))
    }

    fn list(&mut self, length: usize) -> Pin<Box<dyn Future<Output = io::Result<Reply>> + Send + '_>> {
        Box::pin(async move {
            let mut items = Vec::new();
            for _ in 0..length {
                items.push(self.reply().await?);
            }
            Ok(Reply::List(items))
        })
    }
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP2: `{}`", line.escape_debug()))
}
