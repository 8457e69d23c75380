//! One request: all that is in it follows from its number, so that both ends know what the other is to do.

/// Hosts, each with a route of its own.
pub(crate) const HOSTS: u64 = 48;
pub(crate) const SERVICES: [&str; 2] = ["blue", "green"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request(pub(crate) u64);

/// What a backend does behind its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    KeepAlive,
    /// It said so.
    Close,
    /// Without a word, as servers do whose connections have been idle for too long.
    CloseSilently,
}

impl Request {
    /// A quarter of them.
    pub(crate) fn is_post(self) -> bool {
        self.0.is_multiple_of(4)
    }

    /// The backend takes it and goes away without an answer: whoever sent it again would do harm.
    pub(crate) fn is_dropped(self) -> bool {
        self.0 % 2000 == 1000
    }

    pub(crate) fn afterwards(self) -> Afterwards {
        match self.0 % 250 {
            7 => Afterwards::Close,
            9 => Afterwards::CloseSilently,
            _ => Afterwards::KeepAlive,
        }
    }

    pub(crate) fn method(self) -> &'static str {
        if self.is_post() { "POST" } else { "GET" }
    }

    pub(crate) fn path(self) -> String {
        format!("/{}", self.0)
    }

    pub(crate) fn from_path(path: &str) -> Option<Request> {
        path.strip_prefix('/')?.parse().ok().map(Request)
    }

    pub(crate) fn host(self) -> String {
        host(self.0 % HOSTS)
    }

    pub(crate) fn body(self) -> String {
        if self.is_post() { format!("order {:0>64}", self.0) } else { String::new() }
    }

    /// What a pod of a Service answers.
    pub(crate) fn answer(self, service: &str) -> String {
        format!("{} {service}", self.0)
    }

    /// Whether it is the answer to this request, from a Service to which its route may lead.
    pub(crate) fn is_answer(self, body: &[u8]) -> bool {
        let services = home(self.0 % HOSTS).map_or(&SERVICES[..], |home| &SERVICES[home..=home]);
        services.iter().any(|service| self.answer(service).as_bytes() == body)
    }
}

pub(crate) fn host(index: u64) -> String {
    format!("host-{index}.example")
}

/// The Service of a route that always leads to the same one: two of three do.
pub(crate) fn home(index: u64) -> Option<usize> {
    match index % 3 {
        0 => Some(0),
        1 => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn an_answer_is_of_its_request_and_of_its_routes_service() {
        let request = Request(48);
        assert!(request.is_answer(b"48 blue"));
        assert!(!request.is_answer(b"48 green"), "its route leads to blue alone");
        assert!(!request.is_answer(b"96 blue"), "another's");
        assert!(Request(50).is_answer(b"50 blue") && Request(50).is_answer(b"50 green"));
        assert_eq!(Request::from_path(&request.path()), Some(request));
    }

    #[test]
    fn what_backends_drop_are_posts_whose_connections_carry_nothing_else() {
        let mut dropped = (0..10_000).map(Request).filter(|request| request.is_dropped());
        assert!(dropped.all(Request::is_post));
        assert_eq!((0..10_000).map(Request).filter(|request| request.is_dropped()).count(), 5);
    }
}
