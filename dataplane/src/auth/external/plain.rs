//! What an answer in HTTP means.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE},
};

use super::{
    Answer, External,
    grant::{Edit, Granted, How},
};

/// What the client gets to see of a refusal.
const PASSED_ON: [HeaderName; 5] = [WWW_AUTHENTICATE, LOCATION, SET_COOKIE, CONTENT_TYPE, CACHE_CONTROL];

pub(super) fn judge(external: &External, answer: Response<Bytes>) -> Answer {
    match answer.status().as_u16() {
        200..=299 => Answer::Admitted(granted(external, answer.headers()).into()),
        301 | 302 | 303 | 307 | 308 | 401 => Answer::Unauthenticated(passed_on(answer)),
        403 => Answer::Forbidden(passed_on(answer)),
        400..=499 => Answer::Denied,
        _ => Answer::Failure,
    }
}

fn granted(external: &External, answer: &HeaderMap) -> Granted {
    let edits = external.copy.iter().flat_map(|name| {
        let values = answer.get_all(name).iter();
        values.map(move |value| Edit { name: name.clone(), value: value.clone(), how: How::Append })
    });
    let name = external.identity.as_ref().and_then(|name| answer.get(name));
    Granted::new(name, edits.collect(), Vec::new())
}

fn passed_on(answer: Response<Bytes>) -> Box<Response<Bytes>> {
    let (head, body) = answer.into_parts();
    let mut passed = Response::new(body);
    *passed.status_mut() = head.status;
    for name in PASSED_ON {
        for value in head.headers.get_all(&name) {
            passed.headers_mut().append(name.clone(), value.clone());
        }
    }
    Box::new(passed)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Response;

    use crate::auth::external::{
        Answer,
        tests::{compiled, headers},
    };

    #[test]
    fn answers_admit_refuse_or_are_none() {
        let external = compiled(|_| {}).unwrap();
        for (status, wanted) in [
            (200, "admitted"),
            (204, "admitted"),
            (302, "unauthenticated"),
            (401, "unauthenticated"),
            (403, "forbidden"),
            (304, "failure"),
            (400, "denied"),
            (404, "denied"),
            (429, "denied"),
            (500, "failure"),
            (503, "failure"),
            (101, "failure"),
        ] {
            let answer = Response::builder().status(status).body(Bytes::new()).unwrap();
            let found = match super::judge(&external, answer) {
                Answer::Admitted(_) => "admitted",
                Answer::Unauthenticated(_) => "unauthenticated",
                Answer::Forbidden(_) => "forbidden",
                Answer::Denied => "denied",
                Answer::Failure => "failure",
            };
            assert_eq!(found, wanted, "{status}");
        }
    }

    #[test]
    fn the_backend_gets_what_the_policy_names_and_the_client_what_it_needs() {
        let external = compiled(|_| {}).unwrap();
        let mut answer = Response::new(Bytes::from_static(b"said"));
        *answer.headers_mut() =
            headers(&[("x-auth-user", "alice"), ("x-secret", "inside"), ("location", "/login")]);
        let granted = super::granted(&external, answer.headers());
        assert_eq!(&*granted.credential, "external:alice");
        let mut request = http::HeaderMap::new();
        granted.apply(&mut request);
        assert_eq!(request, headers(&[("x-auth-user", "alice")]));
        let passed = super::passed_on(answer);
        assert_eq!(*passed.headers(), headers(&[("location", "/login")]));
        assert_eq!(passed.body(), "said");
    }
}
