//! What a lane asks of its storage, and what it is answered: values, so that a queue, a thread or the simulator
//! can stand between.

use crate::{SaveOutcome, SavedEntity, Storage};

/// What a lane asks. `request` is the asker's number and comes back in the reply.
#[derive(Clone, Debug, PartialEq)]
pub enum StorageRequest {
    /// The avatar of an account is wanted.
    LoadAvatar {
        /// The asker's number.
        request: u64,
        /// Whose avatar.
        account: String,
    },
    /// Entities are to be saved, all or none.
    Save {
        /// The asker's number.
        request: u64,
        /// The entities.
        entities: Vec<SavedEntity>,
    },
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum StorageReply {
    /// To [`StorageRequest::LoadAvatar`].
    Avatar {
        /// The asker's number.
        request: u64,
        /// Whose avatar was asked for.
        account: String,
        /// The avatar, `None` if the account has none yet, or why it can't be read.
        result: Result<Option<SavedEntity>, String>,
    },
    /// To [`StorageRequest::Save`].
    Saved {
        /// The asker's number.
        request: u64,
        /// One outcome for each entity, in order, or why nothing was saved.
        result: Result<Vec<SaveOutcome>, String>,
    },
}

/// Answers one request. Blocks as long as `storage` does.
pub fn serve(storage: &mut dyn Storage, request: StorageRequest) -> StorageReply {
    match request {
        StorageRequest::LoadAvatar { request, account } => {
            let result = storage.load_avatar(&account).map_err(|error| error.to_string());
            StorageReply::Avatar {
                request,
                account,
                result,
            }
        }
        StorageRequest::Save { request, entities } => StorageReply::Saved {
            request,
            result: storage.save(&entities).map_err(|error| error.to_string()),
        },
    }
}
