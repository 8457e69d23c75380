//! Why the gateway answered by itself: the closed set that responses, logs and metrics share.

use http::StatusCode;

/// A cause for which a request got an answer from the gateway and not from a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The message breaks HTTP's syntax or framing, or could be read in two ways.
    BadRequest,
    /// The request line is longer than allowed.
    UriTooLong,
    /// The head is larger, or has more fields, than allowed.
    HeadTooLarge,
    /// The head or body did not arrive in time.
    RequestTimeout,
    /// The body has more bytes than the rule takes.
    BodyTooLarge,
    /// A transfer coding other than chunked.
    CodingUnsupported,
    /// A version other than HTTP/1.0, 1.1 or 2.
    VersionUnsupported,
    /// CONNECT, or another method that the gateway does not serve.
    MethodUnsupported,
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// The TLS connection was made for another host than the request names (RFC 9110, 15.5.20).
    MisdirectedRequest,
    /// The route takes the request, but not by this method.
    MethodNotAllowed,
    /// A value that the route takes from the request is not there, or is one that it must not be.
    ValueMissing,
    /// No listener or route takes the request.
    NoRoute,
    /// The matched rule answers with a redirect.
    Redirect,
    /// The matched rule answers by itself.
    Direct,
    /// No credential, or one that is not accepted.
    Unauthenticated,
    /// The policy does not admit who asks, or where it comes from.
    Forbidden,
    /// The policy that guards the route can't be enforced: its keys or references are missing.
    PolicyUnavailable,
    /// A rate limit is used up.
    RateLimited,
    /// The count of a rate limit can't be reached and its policy says to deny.
    LimitUnavailable,
    /// The rule or the chosen backend reference is broken.
    BrokenRoute,
    /// What guarded the route at another gateway could not be taken over, and its owner has not opened it.
    Unconverted,
    /// No backend is eligible: no endpoints, or every weight is 0.
    NoEndpoints,
    /// The backend could not be connected to.
    ConnectFailed,
    /// The backend broke off or spoke something else than HTTP.
    UpstreamFailed,
    /// The backend did not answer in time.
    UpstreamTimeout,
    /// The backend has as many requests under way as its policy lets it have.
    UpstreamFull,
    /// A part of an aggregate was answered with a status that is no success.
    UpstreamStatus,
    /// A part of an aggregate was answered with something that is not one JSON value.
    UpstreamNotJson,
    /// A part of an aggregate was answered with more than is taken.
    UpstreamTooLarge,
    /// A rule held the request up on purpose; where it answers, until the request's time was over.
    FaultDelayed,
    /// A rule answered in place of the backend on purpose.
    FaultAborted,
    /// The client wants only what is kept, and that is not.
    NotCached,
    /// The client went away before the answer.
    ClientGone,
    /// The gateway has reached a limit of its own, such as its number of connections.
    Overloaded,
    /// Nothing moved on a stream for too long.
    StreamIdle,
    /// The gateway ended before the stream did.
    Draining,
}

impl Reason {
    /// Every reason; its position is its index.
    pub const ALL: [Reason; 37] = [
        Reason::BadRequest,
        Reason::UriTooLong,
        Reason::HeadTooLarge,
        Reason::RequestTimeout,
        Reason::BodyTooLarge,
        Reason::CodingUnsupported,
        Reason::VersionUnsupported,
        Reason::MethodUnsupported,
        Reason::ExpectationFailed,
        Reason::MisdirectedRequest,
        Reason::MethodNotAllowed,
        Reason::ValueMissing,
        Reason::NoRoute,
        Reason::Redirect,
        Reason::Direct,
        Reason::Unauthenticated,
        Reason::Forbidden,
        Reason::PolicyUnavailable,
        Reason::RateLimited,
        Reason::LimitUnavailable,
        Reason::BrokenRoute,
        Reason::Unconverted,
        Reason::NoEndpoints,
        Reason::ConnectFailed,
        Reason::UpstreamFailed,
        Reason::UpstreamTimeout,
        Reason::UpstreamFull,
        Reason::UpstreamStatus,
        Reason::UpstreamNotJson,
        Reason::UpstreamTooLarge,
        Reason::FaultDelayed,
        Reason::FaultAborted,
        Reason::NotCached,
        Reason::ClientGone,
        Reason::Overloaded,
        Reason::StreamIdle,
        Reason::Draining,
    ];

    /// Position in [`Reason::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name in logs, metrics and problem details.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::BadRequest => "bad_request",
            Reason::UriTooLong => "uri_too_long",
            Reason::HeadTooLarge => "head_too_large",
            Reason::RequestTimeout => "request_timeout",
            Reason::BodyTooLarge => "body_too_large",
            Reason::CodingUnsupported => "coding_unsupported",
            Reason::VersionUnsupported => "version_unsupported",
            Reason::MethodUnsupported => "method_unsupported",
            Reason::ExpectationFailed => "expectation_failed",
            Reason::MisdirectedRequest => "misdirected_request",
            Reason::MethodNotAllowed => "method_not_allowed",
            Reason::ValueMissing => "value_missing",
            Reason::NoRoute => "no_route",
            Reason::Redirect => "redirect",
            Reason::Direct => "direct",
            Reason::Unauthenticated => "unauthenticated",
            Reason::Forbidden => "forbidden",
            Reason::PolicyUnavailable => "policy_unavailable",
            Reason::RateLimited => "rate_limited",
            Reason::LimitUnavailable => "limit_unavailable",
            Reason::BrokenRoute => "broken_route",
            Reason::Unconverted => "unconverted",
            Reason::NoEndpoints => "no_endpoints",
            Reason::ConnectFailed => "connect_failed",
            Reason::UpstreamFailed => "upstream_failed",
            Reason::UpstreamTimeout => "upstream_timeout",
            Reason::UpstreamFull => "upstream_full",
            Reason::UpstreamStatus => "upstream_status",
            Reason::UpstreamNotJson => "upstream_not_json",
            Reason::UpstreamTooLarge => "upstream_too_large",
            Reason::FaultDelayed => "fault_delayed",
            Reason::FaultAborted => "fault_aborted",
            Reason::NotCached => "not_cached",
            Reason::ClientGone => "client_gone",
            Reason::Overloaded => "overloaded",
            Reason::StreamIdle => "stream_idle",
            Reason::Draining => "draining",
        }
    }

    /// The status of the answer; redirects and direct answers bring their own.
    pub fn status(self) -> StatusCode {
        match self {
            Reason::BadRequest | Reason::ValueMissing => StatusCode::BAD_REQUEST,
            Reason::UriTooLong => StatusCode::URI_TOO_LONG,
            Reason::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::RequestTimeout | Reason::StreamIdle => StatusCode::REQUEST_TIMEOUT,
            Reason::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::CodingUnsupported | Reason::MethodUnsupported => StatusCode::NOT_IMPLEMENTED,
            Reason::VersionUnsupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Reason::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Reason::MisdirectedRequest => StatusCode::MISDIRECTED_REQUEST,
            Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Reason::NoRoute => StatusCode::NOT_FOUND,
            Reason::Redirect => StatusCode::FOUND,
            Reason::Direct => StatusCode::OK,
            Reason::Unauthenticated => StatusCode::UNAUTHORIZED,
            Reason::Forbidden => StatusCode::FORBIDDEN,
            Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Reason::BrokenRoute => StatusCode::INTERNAL_SERVER_ERROR,
            Reason::PolicyUnavailable
            | Reason::LimitUnavailable
            | Reason::Unconverted
            | Reason::NoEndpoints
            | Reason::UpstreamFull
            | Reason::FaultAborted
            | Reason::Overloaded
            | Reason::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Reason::ConnectFailed
            | Reason::UpstreamFailed
            | Reason::UpstreamStatus
            | Reason::UpstreamNotJson
            | Reason::UpstreamTooLarge => StatusCode::BAD_GATEWAY,
            Reason::UpstreamTimeout | Reason::FaultDelayed | Reason::NotCached => StatusCode::GATEWAY_TIMEOUT,
            // nginx's habit: never sent, only logged.
            Reason::ClientGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        }
    }

    /// A sentence for the client. It tells nothing about the inside.
    pub fn detail(self) -> &'static str {
        match self {
            Reason::BadRequest => "The request is malformed.",
            Reason::UriTooLong => "The request target is too long.",
            Reason::HeadTooLarge => "The request's header section is too large.",
            Reason::RequestTimeout => "The request did not arrive in time.",
            Reason::BodyTooLarge => "The request's body is too large.",
            Reason::CodingUnsupported => "The transfer coding is not supported.",
            Reason::VersionUnsupported => "The HTTP version is not supported.",
            Reason::MethodUnsupported => "The method is not supported.",
            Reason::ExpectationFailed => "The expectation is not supported.",
            Reason::MisdirectedRequest => "The connection was not made for this host.",
            Reason::MethodNotAllowed => "The route does not take this method.",
            Reason::ValueMissing => "The request lacks a value that the route needs.",
            Reason::NoRoute => "No route matches the request.",
            Reason::Redirect | Reason::Direct => "",
            Reason::Unauthenticated => "The request carries no acceptable credential.",
            Reason::Forbidden => "The request is not allowed.",
            Reason::PolicyUnavailable => "The policy that guards this route is not available.",
            Reason::RateLimited => "The rate limit is used up.",
            Reason::LimitUnavailable => "The rate limit can not be checked.",
            Reason::BrokenRoute => "The route is not configured correctly.",
            Reason::Unconverted => "The route is closed.",
            Reason::NoEndpoints => "No backend is available.",
            Reason::ConnectFailed => "The backend can not be reached.",
            Reason::UpstreamFailed => "The backend broke off.",
            Reason::UpstreamFull => "The backend has too much to do.",
            Reason::FaultAborted => "The gateway was told to answer so.",
            Reason::UpstreamTimeout | Reason::FaultDelayed => "The backend did not answer in time.",
            Reason::UpstreamStatus => "A backend did not answer with success.",
            Reason::UpstreamNotJson => "A backend did not answer with JSON.",
            Reason::UpstreamTooLarge => "A backend answered with too much.",
            Reason::NotCached => "There is no kept answer.",
            Reason::ClientGone => "The client went away.",
            Reason::Overloaded => "The gateway is overloaded.",
            Reason::StreamIdle => "Nothing was sent for too long.",
            Reason::Draining => "The gateway is going away.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn each_stands_at_its_index() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index, "{reason:?}");
        }
    }
}
