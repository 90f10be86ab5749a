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

alloy::sol! {
    /// What is asked of a token (ERC-20, and ERC-2612 and ERC-3009 where it has those).
    #[sol(rpc)]
    interface Erc20 {
        function allowance(address owner, address spender) external view returns (uint256);
        function balanceOf(address account) external view returns (uint256);
        function transfer(address to, uint256 amount) external returns (bool);
        function approve(address spender, uint256 amount) external returns (bool);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
        function nonces(address owner) external view returns (uint256);
        function decimals() external view returns (uint8);
        function symbol() external view returns (string);
    }
}

alloy::sol!(
    #[sol(rpc, all_derives)]
    SdppDualDeposit,
    "../../contracts/artifacts/SdppDualDeposit.json"
);

alloy::sol!(
    #[sol(rpc, all_derives)]
    SdppBond,
    "../../contracts/artifacts/SdppBond.json"
);

/// Apart from the others, since it brings the names of channels along once more.
pub mod registry {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        SdppRegistry,
        "../../contracts/artifacts/SdppRegistry.json"
    );
}
