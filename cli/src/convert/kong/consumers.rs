//! Consumers and their credentials.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_dataplane::inspect::Inspected;
use gatehouse_proto::config::v1;
use serde_json::{Value, json};

use super::{
    Conversion,
    model::{Consumer, JwtSecret, Password},
};
use crate::convert::{
    manifests::{File, own},
    names::label,
    tree::is_template,
};

/// The longest key that a client may send.
const LONGEST_KEY: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Consumers {
    /// Methods of `anyOf` that verify the tokens of Kong's jwt_secrets, in the order of the file. Each with whether its
    /// secret is text that Kong's plugin may say is base64.
    pub(super) tokens: Vec<Token>,
    keys: BTreeMap<String, String>,
    issuers: BTreeMap<String, String>,
    users: BTreeMap<String, String>,
}

/// What verifies the tokens of one credential.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) issuer: String,
    pub(super) algorithm: String,
    pub(super) key: TokenKey,
}

#[derive(Debug)]
pub(super) enum TokenKey {
    Pem(String),
    /// A shared secret; `name` is the Secret's and `entry` its entry. `None`: it is not known here.
    Shared {
        name: String,
        entry: String,
        secret: Option<String>,
    },
}

impl Conversion<'_, '_> {
    pub(super) fn consumers(&mut self) {
        for index in 0..self.kong.consumers.len() {
            self.consumer(index);
        }
    }

    fn consumer(&mut self, index: usize) {
        let consumer = &self.kong.consumers[index];
        let name = self.names.unique("Consumer", &consumer.name);
        let mut credentials = Vec::new();
        for (at, key) in consumer.keys.iter().enumerate() {
            let Some(value) = &key.key else {
                self.report.refuse(&key.node, "has no key: Kong made one up that the file does not tell");
                continue;
            };
            if key.expires {
                self.report.refuse(&key.node, "is not converted: when its ttl began is not in the file. Give the Consumer a key with `expires`");
                continue;
            }
            if value.value.is_empty() || value.value.len() > LONGEST_KEY {
                self.report
                    .refuse(&value.node, format!("is not converted: keys have 1 to {LONGEST_KEY} bytes"));
                continue;
            }
            if let Some(other) = self.consumers.keys.insert(value.value.clone(), consumer.name.clone()) {
                self.report.refuse(&value.node, format!("is the key of consumer {other} too"));
                continue;
            }
            let (secret, entry) = (format!("consumer-{name}"), format!("key-{}", at + 1));
            if is_template(&value.value) {
                self.report.refuse(&value.node, format!("is filled in from elsewhere: put it into entry {entry} of the Secret {secret}; until then it is no key"));
            } else {
                self.manifests.secret(&self.options.namespace, &secret, &entry, &value.value, false);
            }
            credentials.push(json!({
                "name": format!("key-{}", at + 1),
                "apiKey": {"secretRef": {"name": secret, "key": entry}},
            }));
        }
        for (at, token) in consumer.tokens.iter().enumerate() {
            credentials.extend(self.token(consumer, &name, at, token));
        }
        for (at, password) in consumer.passwords.iter().enumerate() {
            credentials.extend(self.password(consumer, &name, at, password));
        }
        self.write_consumer(consumer, index, &name, &credentials);
    }

    fn password(
        &mut self,
        consumer: &Consumer<'_>,
        name: &str,
        at: usize,
        given: &Password<'_>,
    ) -> Option<Value> {
        let report = self.report;
        let (Some(username), Some(password)) = (&given.username, &given.password) else {
            report.refuse(&given.node, "has no username or no password");
            return None;
        };
        if given.is_hashed {
            report.refuse(
                &password.node,
                "is Kong's own hash, which can't be verified elsewhere: give the client another password",
            );
            return None;
        }
        if username.value.is_empty()
            || username.value.contains(':')
            || username.value.chars().any(char::is_control)
        {
            report.refuse(&username.node, "is not converted: the name of a user holds no colon");
            return None;
        }
        if let Some(other) = self.consumers.users.insert(username.value.clone(), consumer.name.clone()) {
            report.refuse(&username.node, format!("is the user of consumer {other} too"));
            return None;
        }
        let (secret, entry) = (format!("consumer-{name}"), format!("password-{}", at + 1));
        if is_template(&password.value) {
            report.refuse(&password.node, format!("is filled in from elsewhere: put it into entry {entry} of the Secret {secret}; until then nobody gets in by it"));
        } else {
            self.manifests.secret(&self.options.namespace, &secret, &entry, &password.value, false);
        }
        Some(json!({
            "name": format!("password-{}", at + 1),
            "basic": {"username": username.value, "passwordSecretRef": {"name": secret, "key": entry}},
        }))
    }

    fn write_consumer(&mut self, consumer: &Consumer<'_>, index: usize, name: &str, credentials: &[Value]) {
        let mut spec = json!({"username": consumer.username.as_deref().unwrap_or(&consumer.name)});
        if let Some(custom_id) = &consumer.custom_id {
            spec["customId"] = json!(custom_id);
        }
        let mut groups = Vec::new();
        for group in &consumer.groups {
            if group.value.contains(',') || group.value.is_empty() {
                self.report.refuse(&group.node, "is not converted: names of groups hold no comma");
            } else if !groups.contains(&group.value) {
                groups.push(group.value.clone());
            }
        }
        if !groups.is_empty() {
            spec["groups"] = json!(groups);
        }
        if let Some(tier) = self.tier_of(index) {
            spec["tier"] = json!(tier);
        }
        if !credentials.is_empty() {
            spec["credentials"] = json!(credentials);
        }
        if let Some(id) = consumer.node.get("id") {
            self.report.warn(
                &id,
                format!("is not converted: backends see X-Consumer-Id: {}/{name}", self.options.namespace),
            );
        }
        let object = own("Consumer", &self.options.namespace, name, &spec);
        self.manifests.add(File::Consumers, object);
    }

    /// The Consumer's part of a jwt_secret; the AuthPolicy's is kept for the routes that ask for tokens.
    fn token(
        &mut self,
        consumer: &Consumer<'_>,
        name: &str,
        at: usize,
        token: &JwtSecret<'_>,
    ) -> Option<Value> {
        let report = self.report;
        let Some(issuer) = token.key.as_ref().filter(|key| !key.value.is_empty()) else {
            report.refuse(&token.node, "has no key: Kong made one up that the file does not tell");
            return None;
        };
        if let Some(other) = self.consumers.issuers.get(&issuer.value) {
            report.refuse(&issuer.node, format!("is the key of consumer {other} too"));
            return None;
        }
        let key = if token.algorithm.starts_with("HS") {
            let (secret, entry) = (format!("consumer-{name}"), format!("jwt-{}", at + 1));
            let Some(given) = &token.secret else {
                report.refuse(&token.node, "has no secret: Kong made one up that the file does not tell");
                return None;
            };
            let is_elsewhere = is_template(&given.value);
            if is_elsewhere {
                report.refuse(&given.node, format!("is filled in from elsewhere: put it into entry {entry} of the Secret {secret}; until then the routes that ask for tokens answer 503"));
            }
            TokenKey::Shared { name: secret, entry, secret: (!is_elsewhere).then(|| given.value.clone()) }
        } else {
            let Some(pem) = &token.public_key else {
                report
                    .refuse(&token.node, format!("has algorithm {} and no rsa_public_key", token.algorithm));
                return None;
            };
            TokenKey::Pem(pem.value.clone())
        };
        let token_of = Token { issuer: issuer.value.clone(), algorithm: token.algorithm.clone(), key };
        if let Some(problem) = token_of.problem(false) {
            report.refuse(&token.node, format!("is not converted: {problem}. Issue another"));
            return None;
        }
        report.warn(
            &issuer.node,
            "is the `iss` of its tokens, which stand for the consumer whatever their `sub`",
        );
        self.consumers.issuers.insert(issuer.value.clone(), consumer.name.clone());
        self.consumers.tokens.push(token_of);
        Some(json!({"name": format!("jwt-{}", at + 1), "jwt": {"issuer": issuer.value, "subject": "*"}}))
    }
}

impl Token {
    /// What a dataplane would say of it.
    pub(super) fn problem(&self, is_base64: bool) -> Option<String> {
        let kind = match &self.key {
            TokenKey::Pem(pem) => v1::jwt_key::Kind::PublicKeyPem(pem.clone()),
            TokenKey::Shared { secret: None, .. } => return None,
            TokenKey::Shared { secret: Some(secret), .. } if is_base64 => match STANDARD.decode(secret) {
                Ok(bytes) => v1::jwt_key::Kind::Secret(bytes),
                Err(_) => return Some("its secret is no base64".into()),
            },
            TokenKey::Shared { secret: Some(secret), .. } => {
                v1::jwt_key::Kind::Secret(secret.clone().into_bytes())
            }
        };
        let jwt = v1::Jwt {
            issuer: self.issuer.clone(),
            algorithms: vec![self.algorithm.clone()],
            keys: vec![v1::JwtKey { kind: Some(kind), ..v1::JwtKey::default() }],
            ..v1::Jwt::default()
        };
        let method = v1::AuthMethod { kind: Some(v1::auth_method::Kind::Jwt(jwt)) };
        let config = v1::AuthConfig { any_of: vec![method], ..v1::AuthConfig::default() };
        let resource = v1::Resource {
            name: "auth/converted".into(),
            version: Vec::new(),
            kind: Some(v1::resource::Kind::Auth(config)),
        };
        Inspected::new(vec![resource]).refused().first().map(|refused| refused.reason.clone())
    }

    /// As an entry of `anyOf`.
    pub(super) fn method(&self, sources: &Value) -> Value {
        let mut jwt = json!({
            "issuer": self.issuer,
            "algorithms": [self.algorithm],
            "leewaySeconds": 0,
            "sources": sources,
        });
        match &self.key {
            TokenKey::Pem(pem) => jwt["inline"] = json!({"pem": pem}),
            TokenKey::Shared { name, entry, .. } => {
                jwt["secretRef"] = json!({"name": name, "key": entry, "format": "HMAC"});
            }
        }
        json!({"jwt": jwt})
    }
}

/// Tiers are lines of at most 63 bytes.
pub(super) fn tier(consumer: &Consumer<'_>) -> String {
    label(&consumer.name, 63)
}
