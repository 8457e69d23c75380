//! Users of htpasswd files to Consumers. What the files hold of passwords are hashes that can't be verified here, so each
//! user needs a new password; until then nobody gets in.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{Conversion, annotations::Annotations};
use crate::convert::{
    manifests::{File, own},
    names::label,
    tree::Node,
};

impl<'a> Conversion<'a, '_> {
    /// The group that the users of the Secret are put into.
    pub(super) fn passwords(&mut self, index: usize, annotations: &Annotations<'a, '_>) -> String {
        let ingress = &self.input.ingresses[index];
        annotations.warn("auth-realm", "is not converted: WWW-Authenticate names none");
        let is_map = annotations.filled("auth-secret-type").is_some_and(|at| at.value == "auth-map");
        let Some(at) = annotations.filled("auth-secret") else { return "nobody".into() };
        let key = match at.value.split_once('/') {
            Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
            None => ingress.key(&at.value),
        };
        let group = label(&key.1, 63);
        let Some(secret) = self.input.secrets.get(&key) else {
            self.report.refuse(&at.node, format!("is in no file, so its users are not known: nobody gets in until Consumers of the group {group} have passwords"));
            return group;
        };
        let namespace = ingress.namespace.clone();
        for (user, hash) in users(secret, is_map) {
            self.user(&namespace, &group, &user, &hash, &at.node);
        }
        group
    }

    fn user(&mut self, namespace: &str, group: &str, user: &str, hash: &str, node: &Node<'a>) {
        let name = label(user, 63);
        if !self.users.insert((namespace.to_owned(), name.clone())) {
            if let Some(known) = self.manifests.get_mut(File::Consumers, "Consumer", namespace, &name)
                && let Some(groups) = known["spec"]["groups"].as_array_mut()
                && !groups.contains(&json!(group))
            {
                groups.push(json!(group));
                self.report.warn(
                    node,
                    format!("has a user {user} that another Secret has too: one password is for both"),
                );
            }
            return;
        }
        let secret = format!("{name}-password");
        let consumer = json!({
            "username": user,
            "groups": [group],
            "credentials": [{
                "name": "password",
                "basic": {"username": user, "passwordSecretRef": {"name": secret, "key": "password"}},
            }],
        });
        self.manifests.add(File::Consumers, own("Consumer", namespace, &name, &consumer));
        match hash.strip_prefix("{PLAIN}") {
            Some(password) => self.manifests.secret(namespace, &secret, "password", password, false),
            None => self.report.refuse(node, format!("holds a hash of the password of {user}, which can't be verified here: put a new password into entry password of the Secret {secret}; until then {user} gets 401")),
        }
    }
}

/// Names and hashes.
fn users(secret: &Node<'_>, is_map: bool) -> Vec<(String, String)> {
    let decoded = secret.get("data").map_or_else(Vec::new, |data| data.fields());
    let decoded = decoded.into_iter().filter_map(|(name, value)| {
        let text = STANDARD.decode(value.text().trim()).ok()?;
        Some((name.to_owned(), String::from_utf8_lossy(&text).into_owned()))
    });
    let plain = secret.get("stringData").map_or_else(Vec::new, |data| data.fields());
    let plain = plain.into_iter().map(|(name, value)| (name.to_owned(), value.text().to_owned()));
    let entries = decoded.chain(plain);
    if is_map {
        return entries.map(|(user, hash)| (user, hash.trim().to_owned())).collect();
    }
    let file: String = entries.filter(|(name, _)| name == "auth").map(|(_, text)| text + "\n").collect();
    let line = |line: &str| {
        let (user, hash) = line.trim().split_once(':')?;
        Some((user.to_owned(), hash.to_owned()))
    };
    file.lines().filter(|text| !text.starts_with('#')).filter_map(line).collect()
}
