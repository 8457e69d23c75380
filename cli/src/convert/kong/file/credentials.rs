//! Consumers of a `kong.yml` and what they prove themselves by.

use super::{File, PLAIN, reference};
use crate::convert::{
    kong::model::{ApiKey, Consumer, JwtSecret, Password},
    tree::{Node, Reader},
};

/// Credentials of kinds that have no like here.
const FOREIGN: [(&str, &str); 3] = [
    ("hmacauth_credentials", "is not converted: signed requests have no like here"),
    ("oauth2_credentials", "is not converted: the gateway issues no tokens"),
    ("mtls_auth_credentials", "is not converted: name the certificate's subject in a Consumer by hand"),
];

impl<'a, 'r> File<'a, '_, 'r> {
    pub(super) fn consumer(&mut self, node: &Node<'a>) {
        let reader = self.reader(node.clone());
        reader.exact(&PLAIN);
        reader.exact(&["id"]);
        let id = node.value()["id"].as_str().map(str::to_owned);
        let username = reader.text("username").map(|at| at.value);
        let custom_id = reader.text("custom_id").map(|at| at.value);
        let name = username.clone().or_else(|| custom_id.clone()).or_else(|| id.clone());
        let name = name.unwrap_or_else(|| format!("consumer-{}", self.kong.consumers.len() + 1));
        self.report.object(node, format!("consumer {name}"));
        let index = self.kong.consumers.len();
        self.kong.consumers.push(Consumer {
            node: node.clone(),
            name,
            id,
            username,
            custom_id,
            groups: Vec::new(),
            keys: Vec::new(),
            tokens: Vec::new(),
            passwords: Vec::new(),
        });
        self.credentials(&reader, |_| Some(index));
        reader.refuse(
            "groups",
            "is not converted: limits by group have no like here; give the consumer a tier",
        );
        for plugin in node.list("plugins") {
            self.plugin(plugin, None, None, Some(node.clone()));
        }
    }

    /// Those that stand beside their consumers.
    pub(super) fn loose_credentials(&mut self, root: &Reader<'a, 'r>) {
        let names: Vec<(String, Option<String>)> =
            self.kong.consumers.iter().map(|consumer| (consumer.name.clone(), consumer.id.clone())).collect();
        let report = self.report;
        self.credentials(root, |node| {
            let consumer = node.get("consumer")?;
            report.exact(&consumer);
            let wanted = reference(&consumer);
            let found = names.iter().position(|(name, id)| name == wanted || id.as_deref() == Some(wanted));
            if found.is_none() {
                report.refuse(&consumer, "names no consumer of the file");
            }
            found
        });
    }

    fn credentials(&mut self, reader: &Reader<'a, 'r>, owner: impl Fn(&Node<'a>) -> Option<usize>) {
        let all = |name: &str| reader.list(name);
        for node in all("acls") {
            let own = self.reader(node.clone());
            own.exact(&PLAIN);
            own.exact(&["id"]);
            let group = own.text("group");
            if let Some(consumer) = owner(&node).and_then(|index| self.kong.consumers.get_mut(index)) {
                consumer.groups.extend(group);
            }
        }
        for node in all("keyauth_credentials") {
            let own = self.reader(node.clone());
            own.exact(&PLAIN);
            own.exact(&["id"]);
            let key = ApiKey {
                key: own.text("key"),
                expires: own.number("ttl").is_some_and(|at| at.value > 0),
                node: node.clone(),
            };
            if let Some(consumer) = owner(&node).and_then(|index| self.kong.consumers.get_mut(index)) {
                consumer.keys.push(key);
            }
        }
        for node in all("jwt_secrets") {
            let own = self.reader(node.clone());
            own.exact(&PLAIN);
            own.exact(&["id"]);
            let token = JwtSecret {
                key: own.text("key"),
                algorithm: own.text("algorithm").map_or_else(|| "HS256".to_owned(), |at| at.value),
                secret: own.text("secret"),
                public_key: own.text("rsa_public_key"),
                node: node.clone(),
            };
            if let Some(consumer) = owner(&node).and_then(|index| self.kong.consumers.get_mut(index)) {
                consumer.tokens.push(token);
            }
        }
        for node in all("basicauth_credentials") {
            let own = self.reader(node.clone());
            own.exact(&PLAIN);
            own.exact(&["id"]);
            let password = Password {
                username: own.text("username"),
                password: own.text("password"),
                is_hashed: self.is_hashed,
                node: node.clone(),
            };
            if let Some(consumer) = owner(&node).and_then(|index| self.kong.consumers.get_mut(index)) {
                consumer.passwords.push(password);
            }
        }
        for (name, why) in FOREIGN {
            reader.refuse(name, why);
        }
    }
}
