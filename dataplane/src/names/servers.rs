//! Who is asked.

use std::net::SocketAddr;

/// As resolvers have it: more are not asked.
const MOST: usize = 3;
const SYSTEM: &str = "/etc/resolv.conf";

/// Empty: whoever the system says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Servers(Vec<SocketAddr>);

impl Servers {
    /// The error is a sentence.
    pub(super) fn compile(wire: &[String]) -> Result<Self, String> {
        let server = |text: &String| {
            text.parse().map_err(|_| format!("externalNames.nameServers: {text:?} is no address with a port"))
        };
        wire.iter().take(MOST).map(server).collect::<Result<_, _>>().map(Servers)
    }

    /// In the order in which they are asked. The system's are read anew each time: laptops change networks.
    pub(super) async fn load(&self) -> Vec<SocketAddr> {
        if !self.0.is_empty() {
            return self.0.clone();
        }
        of_system(&tokio::fs::read_to_string(SYSTEM).await.unwrap_or_default())
    }
}

/// resolv.conf(5). Without any, the server is on this host.
fn of_system(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        Some(SocketAddr::new(address.parse().ok()?, 53))
    });
    let servers: Vec<SocketAddr> = lines.take(MOST).collect();
    if servers.is_empty() { vec![SocketAddr::from(([127, 0, 0, 1], 53))] } else { servers }
}

#[cfg(test)]
mod tests {
    use super::of_system;

    #[test]
    fn what_the_system_says() {
        let text = "# nameserver 1.1.1.1\nsearch a.svc.cluster.local\nnameserver 10.96.0.10\n nameserver\tfd00::10 # x\n\
                    nameserver fe80::1%eth0\noptions ndots:5\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n";
        let shown: Vec<String> = of_system(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.96.0.10:53", "[fd00::10]:53", "10.0.0.1:53"]);
        assert_eq!(of_system("")[0].to_string(), "127.0.0.1:53");
    }
}
