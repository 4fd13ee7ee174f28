//! A cluster whose keys are to be destroyed is watched no more.

use strongroom_model::ObjectId;

use super::Watch;

impl Watch {
    /// Ends the watch over a cluster. When this returns nothing of it talks to its vault any more.
    pub async fn retire(&self, cluster: ObjectId) {
        let watched = self.watched.write().remove(&cluster);
        if let Some(watched) = watched {
            watched.stop.send_replace(true);
            drop(watched.busy.lock().await);
        }
    }
}
