//! Asks servers one after the other, over UDP, and over TCP what does not fit.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use domain::base::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::message::{Answer, Failure, Family, Host, Received, question, read};

/// For one server, once.
const PATIENCE: Duration = Duration::from_secs(2);
/// For all of them.
const WHOLE: Duration = Duration::from_secs(8);
/// How often each is asked.
const ROUNDS: usize = 2;
/// Of a message over UDP (RFC 1035, 2.3.4); some servers send more.
const DATAGRAM: usize = 4096;

pub(super) async fn ask(servers: &[SocketAddr], host: &Host, family: Family) -> Result<Answer, Failure> {
    let asking = async {
        let mut failure = Failure::Silent;
        for _ in 0..ROUNDS {
            for server in servers {
                match timeout(PATIENCE, once(*server, host, family)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(other)) => failure = other,
                    Err(_) => {}
                }
            }
        }
        Err(failure)
    };
    timeout(WHOLE, asking).await.unwrap_or(Err(Failure::Silent))
}

async fn once(server: SocketAddr, host: &Host, family: Family) -> Result<Answer, Failure> {
    let question = question(host, family);
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // A port of its own for each question: who wants to answer in the server's place has to guess it too.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question.as_slice()).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match read(&question, family, &buffer[..length]) {
            Received::Other => {}
            Received::Truncated => return over_tcp(server, &question, family).await,
            Received::Answer(answer) => return answer,
        }
    }
}

/// RFC 7766, 8: with its length before it.
async fn over_tcp(
    server: SocketAddr,
    question: &Message<Vec<u8>>,
    family: Family,
) -> Result<Answer, Failure> {
    let mut stream = TcpStream::connect(server).await?;
    let bytes = question.as_slice();
    let length = u16::try_from(bytes.len()).map_err(|_| Failure::Malformed)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    match read(question, family, &answer) {
        Received::Answer(answer) => answer,
        Received::Other | Received::Truncated => Err(Failure::Malformed),
    }
}
