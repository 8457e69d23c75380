//! What RFC 9111 says of one answer, and of one request. Pure.
//!
//! This cache is stricter than it has to be in three places: nothing is fresh that does not say so (no heuristics, 4.2.2),
//! what sets a cookie is not kept, and an answer to a request with cookies is kept only if it says that it is for all.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, COOKIE, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, LAST_MODIFIED, PRAGMA, SET_COOKIE, VARY,
    },
};

/// Fields that `Vary` may name.
const MOST_FIELDS: usize = 16;
/// Seconds; what is longer is as good as for ever (RFC 9111, 1.2.2).
const FOR_EVER: u64 = 1 << 31;

/// Until when and how an answer may be given again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Its age when it came.
    pub(crate) age: Duration,
    /// From when it was made.
    pub(crate) fresh_for: Duration,
    /// Beyond that, while another is fetched (RFC 5861, 3).
    pub(crate) stale_while_revalidate: Duration,
    /// Beyond that, when there is no other (RFC 5861, 4).
    pub(crate) stale_if_error: Duration,
}

/// What an answer was given to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    /// Of the request.
    pub(crate) headers: &'a HeaderMap,
    /// It is kept for who sent the request alone.
    pub(crate) is_own: bool,
    /// Where the answer does not say.
    pub(crate) stale_while_revalidate: Duration,
    /// Between the question and the answer.
    pub(crate) took: Duration,
    pub(crate) now: SystemTime,
}

/// What a request says of answers that are kept (5.2.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<Duration>,
    pub(crate) min_fresh: Option<Duration>,
}

/// The fields of a request that an answer depends on, and their values then (4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection(Box<[(HeaderName, Box<[HeaderValue]>)]>);

#[derive(Debug, Default)]
struct Directives {
    no_store: bool,
    no_cache: bool,
    private: bool,
    public: bool,
    /// Or the same for shared caches.
    must_revalidate: bool,
    s_maxage: Option<u64>,
    max_age: Option<u64>,
    stale_while_revalidate: Option<u64>,
    stale_if_error: Option<u64>,
}

impl Terms {
    /// `None`: it must not be kept, or is of no use.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, given: Given<'_>) -> Option<Self> {
        let is_partial = status == StatusCode::PARTIAL_CONTENT || headers.contains_key(CONTENT_RANGE);
        if is_partial || status.as_u16() < 200 || status == StatusCode::NOT_MODIFIED {
            return None;
        }
        let said = Directives::of(headers)?;
        if said.no_store || said.private || headers.contains_key(SET_COOKIE) {
            return None;
        }
        let is_for_all = said.public || said.s_maxage.is_some();
        if given.headers.contains_key(AUTHORIZATION) && !given.is_own && !is_for_all && !said.must_revalidate
        {
            return None;
        }
        if given.headers.contains_key(COOKIE) && !is_for_all && !varies_by(headers, &COOKIE) {
            return None;
        }
        let date = time(headers, &DATE).unwrap_or(given.now);
        let expires = || {
            // What is no date has expired (5.3).
            let until = headers.get(EXPIRES)?;
            let until = until.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
            Some(until.and_then(|until| until.duration_since(date).ok()).map_or(0, |left| left.as_secs()))
        };
        let lifetime = said.s_maxage.or(said.max_age).or_else(expires);
        let can_be_asked_for = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        // Without a word of its own, only what can be asked for again, and only as a success.
        if lifetime.is_none() && !(status == StatusCode::OK && can_be_asked_for) {
            return None;
        }
        let seconds = |count: u64| Duration::from_secs(count.min(FOR_EVER));
        let stale = |own: Option<u64>, default: Duration| match own {
            _ if said.must_revalidate || said.no_cache => Duration::ZERO,
            Some(own) => seconds(own),
            None => default,
        };
        // Said for shared caches, the end is the end (5.2.2.10), unless the answer itself says otherwise. What never was fresh
        // has no time beyond that.
        let has_default = said.s_maxage.is_none() && lifetime.is_some_and(|lifetime| lifetime > 0);
        let default = if has_default { given.stale_while_revalidate } else { Duration::ZERO };
        let terms = Terms {
            age: age(headers, date, given),
            fresh_for: if said.no_cache { Duration::ZERO } else { seconds(lifetime.unwrap_or(0)) },
            stale_while_revalidate: stale(said.stale_while_revalidate, default),
            stale_if_error: stale(said.stale_if_error, Duration::ZERO),
        };
        let usable = terms.fresh_for + terms.stale_while_revalidate.max(terms.stale_if_error);
        (can_be_asked_for || terms.age < usable).then_some(terms)
    }
}

/// 4.2.3.
fn age(headers: &HeaderMap, date: SystemTime, given: Given<'_>) -> Duration {
    let said = headers.get(AGE).and_then(|age| age.to_str().ok());
    let said = said.and_then(|text| text.split(',').next()).and_then(seconds).unwrap_or(0);
    let apparent = given.now.duration_since(date).unwrap_or_default();
    apparent.max(Duration::from_secs(said).saturating_add(given.took))
}

fn time(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// `None`: it is no number.
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(FOR_EVER).min(FOR_EVER))
}

/// Calls `each` with the directives of a `Cache-Control` (5.2). `false`: it can't be read.
fn each_directive(headers: &HeaderMap, mut each: impl FnMut(&str, Option<&str>)) -> bool {
    for value in headers.get_all(CACHE_CONTROL) {
        let Ok(mut rest) = value.to_str() else { return false };
        while !rest.is_empty() {
            let end = end_of_directive(rest);
            let one = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or("");
            match one.split_once('=') {
                Some((name, value)) => each(name.trim(), Some(value.trim().trim_matches('"'))),
                None if one.trim().is_empty() => {}
                None => each(one.trim(), None),
            }
        }
    }
    true
}

/// The next comma that does not stand in quotes.
fn end_of_directive(text: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    let end = text.bytes().position(|byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            _ if was_escaped => false,
            b'\\' => {
                escaped = quoted;
                false
            }
            b'"' => {
                quoted = !quoted;
                false
            }
            byte => byte == b',' && !quoted,
        }
    });
    end.unwrap_or(text.len())
}

/// What is no number means that the time is over; of two, the shorter counts (4.2.1).
fn shorten(limit: &mut Option<u64>, value: Option<&str>) {
    let value = value.and_then(seconds).unwrap_or(0);
    *limit = Some(limit.map_or(value, |before| before.min(value)));
}

impl Directives {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut said = Directives::default();
        let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
        let is_readable = each_directive(headers, |name, value| match name {
            // With field names as well: what is said of some fields holds for all of the answer.
            _ if is(name, "no-store") => said.no_store = true,
            _ if is(name, "no-cache") => said.no_cache = true,
            _ if is(name, "private") => said.private = true,
            _ if is(name, "public") => said.public = true,
            _ if is(name, "must-revalidate") || is(name, "proxy-revalidate") => said.must_revalidate = true,
            _ if is(name, "s-maxage") => shorten(&mut said.s_maxage, value),
            _ if is(name, "max-age") => shorten(&mut said.max_age, value),
            _ if is(name, "stale-while-revalidate") => shorten(&mut said.stale_while_revalidate, value),
            _ if is(name, "stale-if-error") => shorten(&mut said.stale_if_error, value),
            _ => {}
        });
        is_readable.then_some(said)
    }
}

impl Wants {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut wants = Wants::default();
        let Some(_) = headers.get(CACHE_CONTROL) else {
            wants.no_cache = headers.get(PRAGMA).is_some_and(|pragma| {
                pragma.to_str().is_ok_and(|pragma| pragma.to_ascii_lowercase().contains("no-cache"))
            });
            return wants;
        };
        let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
        let limit = |value: Option<&str>| Some(Duration::from_secs(value.and_then(seconds).unwrap_or(0)));
        let is_readable = each_directive(headers, |name, value| match name {
            _ if is(name, "no-store") => wants.no_store = true,
            _ if is(name, "no-cache") => wants.no_cache = true,
            _ if is(name, "only-if-cached") => wants.only_if_cached = true,
            _ if is(name, "max-age") => wants.max_age = limit(value),
            _ if is(name, "min-fresh") => wants.min_fresh = limit(value),
            _ => {}
        });
        wants.no_store |= !is_readable;
        wants
    }

    /// An answer of this age that is fresh for so many seconds more, or has not been for so many.
    pub(crate) fn take(&self, age: Duration, fresh_for: i64) -> bool {
        let fresh = |least: Duration| i64::try_from(least.as_secs()).is_ok_and(|least| fresh_for >= least);
        !self.no_cache && self.max_age.is_none_or(|most| age <= most) && self.min_fresh.is_none_or(fresh)
    }

    /// What comes anew is wanted, and not what others have just got.
    pub(crate) fn insist(&self) -> bool {
        self.no_cache || self.max_age.is_some() || self.min_fresh.is_some()
    }
}

impl Selection {
    /// `None`: no other request selects it, or nobody can tell.
    pub(crate) fn of(answer: &HeaderMap, request: &HeaderMap) -> Option<Self> {
        let mut names = Vec::new();
        for value in answer.get_all(VARY) {
            for word in value.to_str().ok()?.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                // `*` is a token, but no field.
                let name = (word != "*").then(|| HeaderName::from_bytes(word.as_bytes()).ok());
                names.push(name.flatten()?);
            }
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        if names.len() > MOST_FIELDS {
            return None;
        }
        let values = |name: HeaderName| {
            let values = request.get_all(&name).iter().map(owned).collect();
            (name, values)
        };
        Some(Selection(names.into_iter().map(values).collect()))
    }

    pub(crate) fn selects(&self, request: &HeaderMap) -> bool {
        self.0.iter().all(|(name, values)| request.get_all(name).iter().eq(values.iter()))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(super) fn len(&self) -> usize {
        let lengths = self.0.iter().map(|(name, values)| {
            name.as_str().len() + values.iter().map(|value| value.len() + 32).sum::<usize>()
        });
        lengths.sum()
    }
}

/// Fields without the buffers that they came in.
pub(crate) fn compact(headers: &HeaderMap) -> HeaderMap {
    let mut copy = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        copy.append(name.clone(), owned(value));
    }
    copy
}

fn owned(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

fn varies_by(answer: &HeaderMap, name: &HeaderName) -> bool {
    crate::http::headers::words(answer, &VARY).any(|word| word.eq_ignore_ascii_case(name.as_str()))
}

/// The client has this answer already (RFC 9110, 13.2.2): `request` has its conditions.
pub(crate) fn is_known(request: &HeaderMap, status: StatusCode, answer: &HeaderMap) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    if request.contains_key(IF_NONE_MATCH) {
        let Some(tag) = answer.get(ETAG).map(|tag| weak(tag.as_bytes())) else { return false };
        // A comma may stand in a tag, and then nothing is equal.
        let tags = request
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|tags| tags.as_bytes().split(|byte| *byte == b','));
        return tags.map(<[u8]>::trim_ascii).any(|one| one == b"*" || weak(one) == tag);
    }
    match (time(request, &IF_MODIFIED_SINCE), time(answer, &LAST_MODIFIED)) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Takes over what a confirmation says of an answer (3.2): all but what tells of the body that it does not have.
pub(crate) fn update(kept: &HeaderMap, confirmation: &HeaderMap) -> HeaderMap {
    let is_of_body = |name: &HeaderName| {
        matches!(
            name.as_str(),
            "content-encoding" | "content-length" | "content-range" | "content-type" | "etag"
        )
    };
    let mut updated = kept.clone();
    for name in confirmation.keys().filter(|name| !is_of_body(name)) {
        updated.remove(name);
        for value in confirmation.get_all(name) {
            updated.append(name.clone(), value.clone());
        }
    }
    updated
}

#[cfg(test)]
mod tests;
