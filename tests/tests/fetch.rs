//! The JWKS fetcher against real HTTP servers, good and bad.

// A helper of a test that panics has failed it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gatehouse_controller::fetch::{Fetcher, JwksState, Options, Refresh, Wanted};
use gatehouse_tests::certs::Authority;
use http::{Response, header::LOCATION};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(20);
const KEYS: &str = r#"{"keys":[{"kty":"EC","kid":"one"}]}"#;
const OTHER_KEYS: &str = r#"{"keys":[{"kty":"EC","kid":"two"}]}"#;

#[derive(Debug, Clone, Copy)]
enum Answer {
    Text(u16, &'static str),
    Redirect,
    /// Never.
    Silence,
    /// The head, and then never more.
    Stall,
    /// 100 MB, of a length that is told before or not.
    Huge {
        told: bool,
    },
}

/// A server whose answer can be changed.
struct Issuer {
    url: String,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
    /// Bytes of the huge body that were taken.
    taken: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            url: format!("http://{}/jwks", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new(answer)),
            requests: Arc::default(),
            taken: Arc::default(),
        };
        let (answer, requests, taken) =
            (Arc::clone(&issuer.answer), Arc::clone(&issuer.requests), Arc::clone(&issuer.taken));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, requests, taken) =
                    (Arc::clone(&answer), Arc::clone(&requests), Arc::clone(&taken));
                let service = service_fn(move |_| {
                    requests.fetch_add(1, Ordering::SeqCst);
                    let (answer, taken) = (*answer.lock().unwrap(), Arc::clone(&taken));
                    async move { Ok::<_, Infallible>(respond(answer, taken).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        issuer
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn respond(answer: Answer, taken: Arc<AtomicUsize>) -> Response<BoxBody<Bytes, Infallible>> {
    let full = |text: &'static str| Full::new(Bytes::from_static(text.as_bytes())).boxed();
    match answer {
        Answer::Text(status, text) => Response::builder().status(status).body(full(text)).unwrap(),
        Answer::Redirect => {
            Response::builder().status(302).header(LOCATION, "/elsewhere").body(full(KEYS)).unwrap()
        }
        Answer::Silence => std::future::pending().await,
        Answer::Stall => Response::new(BodyExt::boxed(StreamBody::new(stream::pending()))),
        Answer::Huge { told } => {
            let pieces = stream::repeat(Bytes::from(vec![b' '; 100_000])).take(1000).map(move |piece| {
                taken.fetch_add(piece.len(), Ordering::SeqCst);
                Ok(Frame::data(piece))
            });
            let mut response = Response::builder();
            if told {
                response = response.header("content-length", "100000000");
            }
            response.body(BodyExt::boxed(StreamBody::new(pieces))).unwrap()
        }
    }
}

/// A fetcher at a quick pace.
struct Running {
    wanted: watch::Sender<BTreeMap<String, Wanted>>,
    states: watch::Receiver<BTreeMap<String, JwksState>>,
    refresh: Refresh,
    task: JoinHandle<()>,
}

const GAP: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3600);

impl Running {
    fn start(urls: &[(&str, Duration)]) -> Self {
        let options = Options {
            timeout: Duration::from_millis(500),
            shortest_gap: GAP,
            first_retry: GAP,
            longest_backoff: 2 * GAP,
        };
        let (wanted, wanted_urls) = watch::channel(urls_of(urls));
        let (sender, states) = watch::channel(BTreeMap::new());
        let fetcher = Fetcher::new(&options).unwrap();
        let refresh = fetcher.refresh();
        let task = tokio::spawn(fetcher.run(wanted_urls, sender));
        Self { wanted, states, refresh, task }
    }

    /// Waits for a state of the URL.
    async fn until(&mut self, url: &str, what: &str, is: impl Fn(&JwksState) -> bool) -> JwksState {
        let found = self.states.wait_for(|states| states.get(url).is_some_and(&is));
        let found = timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
        found.unwrap()[url].clone()
    }
}

fn urls_of(urls: &[(&str, Duration)]) -> BTreeMap<String, Wanted> {
    let wanted = |url: &str, interval| Wanted { url: url.to_owned(), interval, roots: Vec::new() };
    by_id(urls.iter().map(|(url, interval)| wanted(url, *interval)))
}

fn by_id(all: impl IntoIterator<Item = Wanted>) -> BTreeMap<String, Wanted> {
    all.into_iter().map(|wanted| (wanted.id(), wanted)).collect()
}

fn has(keys: &str) -> impl Fn(&JwksState) -> bool {
    move |state| state.document.as_deref() == Some(keys)
}

#[tokio::test]
async fn keys_are_fetched_and_rotate() {
    let issuer = Issuer::start(Answer::Text(200, KEYS)).await;
    let mut fetcher = Running::start(&[(&issuer.url, GAP)]);
    let first = fetcher.until(&issuer.url, "keys", has(KEYS)).await;
    assert_eq!(first.error, None);
    issuer.answer(Answer::Text(200, OTHER_KEYS));
    let second = fetcher.until(&issuer.url, "new keys", has(OTHER_KEYS)).await;
    assert!(second.fetched_at > first.fetched_at);
}

#[tokio::test]
async fn whatever_fails_the_last_good_keys_stay_and_the_error_says_why() {
    let cases = [
        (Answer::Text(500, "secret detail"), "answered 500"),
        (Answer::Text(204, ""), "answered 204"),
        (Answer::Text(200, "<html>login</html>"), "is not JSON"),
        (Answer::Text(200, "{}"), "no list `keys`"),
        (Answer::Redirect, "redirects are not followed"),
        (Answer::Silence, "can't be fetched"),
        (Answer::Stall, "broke off"),
        (Answer::Huge { told: true }, "larger than 1048576 bytes"),
        (Answer::Huge { told: false }, "larger than 1048576 bytes"),
    ];
    for (answer, why) in cases {
        let issuer = Issuer::start(Answer::Text(200, KEYS)).await;
        let mut fetcher = Running::start(&[(&issuer.url, GAP)]);
        let good = fetcher.until(&issuer.url, "keys", has(KEYS)).await;
        issuer.answer(answer);
        let bad = fetcher.until(&issuer.url, why, |state| state.error.is_some()).await;
        let error = bad.error.unwrap();
        assert!(error.contains(why), "{answer:?}: {error}");
        assert!(!error.contains("secret") && !error.contains("login"), "{error}");
        assert_eq!(bad.document, good.document, "{answer:?}");
        assert!(bad.fetched_at >= good.fetched_at);
        // Far less than the 100 MB.
        assert!(issuer.taken.load(Ordering::SeqCst) < 20_000_000, "{answer:?}");

        issuer.answer(Answer::Text(200, OTHER_KEYS));
        let healed = fetcher.until(&issuer.url, "recovery", has(OTHER_KEYS)).await;
        assert_eq!(healed.error, None, "{answer:?}");
    }
}

#[tokio::test]
async fn a_url_that_never_worked_has_an_error_and_no_document() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = format!("http://user:pass@{}/", unused.local_addr().unwrap());
    drop(unused);
    let urls = [refused.as_str(), "not a url", "ftp://example.com/keys", "file:///etc/passwd"];
    let mut fetcher = Running::start(&urls.map(|url| (url, GAP)));
    for url in urls {
        let state = fetcher.until(url, "an error", |state| state.error.is_some()).await;
        assert_eq!((&state.document, state.fetched_at), (&None, None), "{url}");
        assert!(!state.error.unwrap().contains("pass@"));
    }
}

#[tokio::test]
async fn one_slow_url_does_not_hold_up_another() {
    let slow = Issuer::start(Answer::Silence).await;
    let good = Issuer::start(Answer::Text(200, KEYS)).await;
    let mut fetcher = Running::start(&[(&slow.url, LONG), (&good.url, LONG)]);
    fetcher.until(&good.url, "keys", has(KEYS)).await;
    assert!(!fetcher.states.borrow().contains_key(&slow.url), "it is still being waited for");
}

#[tokio::test]
async fn a_refresh_comes_before_its_time_but_not_more_often_than_the_gap() {
    let issuer = Issuer::start(Answer::Text(200, KEYS)).await;
    let mut fetcher = Running::start(&[(&issuer.url, LONG)]);
    fetcher.until(&issuer.url, "keys", has(KEYS)).await;
    issuer.answer(Answer::Text(200, OTHER_KEYS));
    for _ in 0..1000 {
        fetcher.refresh.refresh_now(&issuer.url);
    }
    fetcher.until(&issuer.url, "new keys", has(OTHER_KEYS)).await;
    assert_eq!(issuer.requests(), 2);

    let started = std::time::Instant::now();
    while started.elapsed() < 5 * GAP {
        fetcher.refresh.refresh_now(&issuer.url);
        sleep(Duration::from_millis(1)).await;
    }
    // One a gap, and the one that was under way.
    let most = 2 + started.elapsed().as_millis() / GAP.as_millis() + 1;
    assert!(issuer.requests() as u128 <= most, "{} requests", issuer.requests());
    assert!(issuer.requests() > 2, "a refresh was made");
}

#[tokio::test]
async fn a_server_must_be_of_the_authorities_that_are_given() {
    let (ours, theirs) = (Authority::default(), Authority::default());
    let acceptor = ours.issue(&["127.0.0.1"]).acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/jwks", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|_| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(KEYS))))
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let of = |authority: Option<&Authority>| Wanted {
        url: url.clone(),
        interval: LONG,
        roots: authority.iter().map(|authority| authority.root.to_vec()).collect(),
    };
    let all = [of(Some(&ours)), of(Some(&theirs)), of(None)];
    let mut fetcher = Running::start(&[]);
    fetcher.wanted.send_replace(by_id(all.clone()));
    fetcher.until(&all[0].id(), "keys", has(KEYS)).await;
    for wanted in &all[1..] {
        let state = fetcher.until(&wanted.id(), "an error", |state| state.error.is_some()).await;
        assert_eq!(state.document, None, "what another trusts is not trusted here");
    }
}

#[tokio::test]
async fn a_url_that_is_no_longer_wanted_is_forgotten() {
    let one = Issuer::start(Answer::Text(200, KEYS)).await;
    let two = Issuer::start(Answer::Text(200, OTHER_KEYS)).await;
    let mut fetcher = Running::start(&[(&one.url, GAP)]);
    fetcher.until(&one.url, "keys", has(KEYS)).await;
    fetcher.wanted.send_replace(urls_of(&[(&two.url, GAP)]));
    fetcher.until(&two.url, "other keys", has(OTHER_KEYS)).await;
    assert!(!fetcher.states.borrow().contains_key(&one.url));

    drop(fetcher.wanted);
    timeout(PATIENCE, fetcher.task).await.expect("it ends with who asks").unwrap();
}
