//! Who a bearer token belongs to, by the API server's word (TokenReview), remembered for a while.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use gatehouse_proto::config::v1::Hello;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use tonic::Status;

use crate::{provision, resources::ObjectKey};

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// A token that was good is believed for so long; a revoked one is refused after it at the latest.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Tokens that are remembered.
const CAPACITY: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(5);

/// A ServiceAccount, and the pod that its token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub account: ObjectKey,
    pub pod: Option<String>,
}

/// By hash of the token: whose it is, and how long that is believed.
type Known = HashMap<[u8; 32], (Identity, Instant)>;

/// Asks who tokens belong to. Cheap to clone.
#[derive(Clone)]
pub struct Identities {
    client: Client,
    known: Arc<Mutex<Known>>,
}

impl Identities {
    pub fn new(client: Client) -> Self {
        Identities { client, known: Arc::default() }
    }

    /// # Errors
    /// The token is not one that the API server vouches for, or it can't be asked.
    pub async fn of(&self, token: &str) -> Result<Identity, Status> {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let now = Instant::now();
        if let Some((identity, until)) = self.known.lock().get(&hash)
            && *until > now
        {
            return Ok(identity.clone());
        }
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![provision::TOKEN_AUDIENCE.into()]),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let asked = tokio::time::timeout(PATIENCE, api.create(&parameters, &review)).await;
        let status = match asked {
            Ok(Ok(review)) => review.status.unwrap_or_default(),
            Ok(Err(error)) => return Err(Status::unavailable(format!("can't review the token: {error}"))),
            Err(_) => return Err(Status::unavailable("can't review the token: no answer in time")),
        };
        let identity = judge(status)?;
        let mut known = self.known.lock();
        if known.len() >= CAPACITY {
            known.retain(|_, (_, until)| *until > now);
            if known.len() >= CAPACITY {
                known.clear();
            }
        }
        known.insert(hash, (identity.clone(), now + REMEMBERED));
        Ok(identity)
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

/// A dataplane may ask for the Gateway that its ServiceAccount was made for, in the name of its own pod.
///
/// # Errors
/// It asks for another's.
pub fn admit(identity: &Identity, hello: &Hello) -> Result<(), Status> {
    let owns = hello.gateway.split_once('/').is_some_and(|(namespace, name)| {
        identity.account == ObjectKey::new(namespace, provision::object_name(name))
    });
    if !owns {
        return Err(Status::permission_denied(format!(
            "ServiceAccount {} may not read the state of Gateway {}",
            identity.account, hello.gateway
        )));
    }
    if identity.pod.as_deref() != Some(&hello.node) {
        return Err(Status::permission_denied(format!("the token is not bound to pod {}", hello.node)));
    }
    Ok(())
}

fn judge(status: TokenReviewStatus) -> Result<Identity, Status> {
    let refused = |why: &str| Err(Status::unauthenticated(why));
    if status.authenticated != Some(true) {
        return refused("the token is not valid");
    }
    // An API server that does not know audiences answers without.
    if !status.audiences.iter().flatten().any(|audience| audience == provision::TOKEN_AUDIENCE) {
        return refused("the token is not for the audience gatehouse");
    }
    let user = status.user.unwrap_or_default();
    let username = user.username.unwrap_or_default();
    let account = username
        .strip_prefix("system:serviceaccount:")
        .and_then(|account| account.split_once(':'))
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains(':'));
    let Some((namespace, name)) = account else {
        return refused("the token does not belong to a ServiceAccount");
    };
    let pod = user.extra.unwrap_or_default().remove(POD_NAME).and_then(|names| names.into_iter().next());
    Ok(Identity { account: ObjectKey::new(namespace, name), pod })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(username: &str, audiences: &[&str], authenticated: Option<bool>) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated,
            audiences: Some(audiences.iter().map(|audience| (*audience).to_owned()).collect()),
            user: Some(UserInfo {
                username: Some(username.into()),
                extra: Some(BTreeMap::from([(POD_NAME.into(), vec!["pod-1".into()])])),
                ..UserInfo::default()
            }),
            error: None,
        }
    }

    #[test]
    fn a_dataplane_reads_its_own_gateway_alone() {
        let identity =
            Identity { account: ObjectKey::new("shop", "web-gatehouse"), pod: Some("pod-1".into()) };
        let hello = |gateway: &str, node: &str| Hello {
            gateway: gateway.into(),
            node: node.into(),
            ..Hello::default()
        };
        assert!(admit(&identity, &hello("shop/web", "pod-1")).is_ok());
        for (gateway, node) in [
            ("shop/other", "pod-1"),
            ("bank/web", "pod-1"),
            ("shop/web", "pod-2"),
            ("shop/web-gatehouse", "pod-1"),
            ("web", "pod-1"),
        ] {
            assert!(admit(&identity, &hello(gateway, node)).is_err(), "{gateway} {node}");
        }
        let unbound = Identity { pod: None, ..identity };
        assert!(admit(&unbound, &hello("shop/web", "pod-1")).is_err());
    }

    #[test]
    fn only_service_accounts_with_the_audience_are_known() {
        let good = status("system:serviceaccount:shop:web-gatehouse", &["gatehouse"], Some(true));
        let identity = judge(good).unwrap();
        assert_eq!(identity.account, ObjectKey::new("shop", "web-gatehouse"));
        assert_eq!(identity.pod.as_deref(), Some("pod-1"));
        for bad in [
            status("system:serviceaccount:shop:web", &["gatehouse"], Some(false)),
            status("system:serviceaccount:shop:web", &["gatehouse"], None),
            status("system:serviceaccount:shop:web", &["https://kubernetes.default.svc"], Some(true)),
            status("system:serviceaccount:shop:web", &[], Some(true)),
            status("system:serviceaccount:shop:", &["gatehouse"], Some(true)),
            status("system:serviceaccount::web", &["gatehouse"], Some(true)),
            status("system:serviceaccount:shop:web:x", &["gatehouse"], Some(true)),
            status("system:admin", &["gatehouse"], Some(true)),
            status("", &["gatehouse"], Some(true)),
        ] {
            assert!(judge(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
