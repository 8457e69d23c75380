//! KongConsumers, with the Secrets that hold their credentials.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Objects, annotation};
use crate::convert::{
    kong::model::{ApiKey, Consumer, JwtSecret, Password, Scope},
    tree::{At, Node},
};

impl<'a> Objects<'a, '_, '_> {
    pub(super) fn consumer(&mut self, node: &Node<'a>) {
        let reader = self.reader(node);
        let key = self.key(node);
        let username = reader.text("username").map(|at| at.value);
        let custom_id = reader.text("custom_id").map(|at| at.value);
        reader.refuse("consumerGroups", "is not converted: give the consumer a tier");
        let mut consumer = Consumer {
            node: node.clone(),
            name: username.clone().or_else(|| custom_id.clone()).unwrap_or_else(|| key.1.clone()),
            id: None,
            username,
            custom_id,
            groups: Vec::new(),
            keys: Vec::new(),
            tokens: Vec::new(),
            passwords: Vec::new(),
        };
        for name in reader.texts("credentials") {
            match self.secrets.get(&(key.0.clone(), name.value.clone())).cloned() {
                Some(secret) => self.credential(&name, &secret, &mut consumer),
                None => self.report.refuse(&name.node, "is not converted: the Secret is in no file"),
            }
        }
        let index = self.kong.consumers.len();
        self.kong.consumers.push(consumer);
        self.name_plugins(node, vec![Scope { consumer: Some(index), ..Scope::default() }]);
        if let Some(tags) = annotation(node, "tags") {
            self.report.exact(&tags);
        }
    }

    fn credential(&self, name: &At<'a, String>, secret: &Node<'a>, consumer: &mut Consumer<'a>) {
        let entry = |field: &str| entry(secret, field);
        let label = secret.value()["metadata"]["labels"]["konghq.com/credential"].as_str().map(str::to_owned);
        let kind = label.or_else(|| entry("kongCredType").map(|at| at.value)).unwrap_or_default();
        match &*kind {
            "key-auth" => {
                consumer.keys.push(ApiKey {
                    key: entry("key"),
                    expires: entry("ttl").is_some(),
                    node: secret.clone(),
                });
            }
            "jwt" => consumer.tokens.push(JwtSecret {
                key: entry("key"),
                algorithm: entry("algorithm").map_or_else(|| "HS256".to_owned(), |at| at.value),
                secret: entry("secret"),
                public_key: entry("rsa_public_key"),
                node: secret.clone(),
            }),
            "basic-auth" => consumer.passwords.push(Password {
                username: entry("username"),
                password: entry("password"),
                is_hashed: false,
                node: secret.clone(),
            }),
            "acl" => consumer.groups.extend(entry("group")),
            other => {
                self.report.refuse(
                    &name.node,
                    format!("is not converted: it is of kind {other:?}, which has no like here"),
                );
            }
        }
    }
}

/// Of a Secret, in plain or in base64.
fn entry<'a>(secret: &Node<'a>, field: &str) -> Option<At<'a, String>> {
    if let Some(node) = secret.get("stringData").and_then(|data| data.get(field)) {
        return Some(At { value: node.text().to_owned(), node });
    }
    let node = secret.get("data")?.get(field)?;
    let value = STANDARD.decode(node.text()).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
    Some(At { value, node })
}
