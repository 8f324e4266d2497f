//! The text of a game's scripts.

use std::collections::BTreeMap;

/// The extension of script files, for messages.
pub(crate) const EXTENSION: &str = "luau";

/// The text of a game's scripts, by module path: `main`, `npc`, `items/sword`. The game begins with `main`.
///
/// A module's path is its file's path without the extension, with `/` between folders.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ScriptSources {
    modules: BTreeMap<String, String>,
}

impl ScriptSources {
    /// The module with which a game begins.
    pub const ENTRY: &str = "main";

    /// Adds a module, in place of the one of that path.
    pub fn insert(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.modules.insert(path.into(), text.into());
    }

    /// The text of a module.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&str> {
        self.modules.get(path).map(String::as_str)
    }

    /// The paths of all modules, ascending.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }
}

impl<P: Into<String>, T: Into<String>> FromIterator<(P, T)> for ScriptSources {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(modules: I) -> Self {
        let mut sources = Self::default();
        for (path, text) in modules {
            sources.insert(path, text);
        }
        sources
    }
}
