//! What the contracts understand, made from their artifacts (`contracts/`; `npm run build` there makes those).
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction, reason = "made by a macro")]

alloy::sol!(
    #[sol(rpc, all_derives)]
    SdppChannels,
    "../../contracts/artifacts/SdppChannels.json"
);

alloy::sol!(
    #[sol(rpc, all_derives)]
    SdppRecords,
    "../../contracts/artifacts/SdppRecords.json"
);
