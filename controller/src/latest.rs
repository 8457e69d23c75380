//! Values that tasks pass on by `watch` channels: only the latest counts, and nobody is woken for what is known already.

use tokio::sync::watch;

/// Passes a value on if it is another one.
pub fn tell<T: PartialEq>(to: &watch::Sender<T>, value: T) {
    to.send_if_modified(|known| {
        let differs = *known != value;
        *known = value;
        differs
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_again_wakes_nobody() {
        let (sender, mut receiver) = watch::channel(1);
        tell(&sender, 1);
        assert!(!receiver.has_changed().unwrap());
        tell(&sender, 2);
        assert!(receiver.has_changed().unwrap());
        assert_eq!(*receiver.borrow_and_update(), 2);
    }
}
