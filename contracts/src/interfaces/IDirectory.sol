// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The consortium's directory of members and of the keys each member publishes
/// @notice The consortium (the contract's owner) admits, suspends and re-admits members. Each member publishes its own
/// signing keys, recipient keys and endpoint. Nothing is ever deleted and nothing is ever backdated: what a look-up
/// answers for a time already past can never change again, so a check *as of* a past time is stable.
/// @dev All times are Unix seconds. All periods are half-open, [from, until); until 0 means "open-ended". Views answer
/// for unknown accounts and keys with zeros, they never revert.
interface IDirectory {
    /// @notice What a key is for: verifying a member's statements, or sealing packets to it.
    enum KeyUse {
        Signing,
        Recipient
    }

    /// @notice A published key. Unknown keys read as `from` = 0.
    /// @param use What the key is for
    /// @param from First second in which the key is valid
    /// @param until First second in which it no longer is; 0 = open-ended. Never before `from`: a key retired before it
    /// became valid has the empty period, `until` = `from`
    /// @param material The public key as published: an RFC 7638 canonical JWK, or an age recipient as text
    struct Key {
        KeyUse use;
        uint64 from;
        uint64 until;
        bytes material;
    }

    /// @notice A member. Accounts never admitted read as `admittedAt` = 0.
    /// @param name The organisation's name as the consortium admitted it (not unique: the account is)
    /// @param endpoint Where the member's node is reached; empty until the member sets it
    /// @param active Whether the account is a member now
    /// @param admittedAt When it was first admitted
    struct Member {
        string name;
        string endpoint;
        bool active;
        uint64 admittedAt;
    }

    /// @notice One period of membership.
    /// @param from When it began: an admission or re-admission
    /// @param until When a suspension ended it; 0 = it goes on
    struct Period {
        uint64 from;
        uint64 until;
    }

    /// @notice An account became a member for the first time.
    event MemberAdmitted(address indexed account, string name);
    /// @notice A member was suspended.
    event MemberSuspended(address indexed account);
    /// @notice A suspended member was admitted again.
    event MemberReadmitted(address indexed account);
    /// @notice A member published a key, valid in [from, until).
    event KeyPublished(address indexed account, bytes32 indexed keyId, KeyUse use, uint64 from, uint64 until);
    /// @notice An account ended a key's validity at `until`, the effective end.
    event KeyRetired(address indexed account, bytes32 indexed keyId, uint64 until);
    /// @notice A member changed where its node is reached.
    event EndpointChanged(address indexed account, string endpoint);

    /// @notice The zero address can't be a member.
    error ZeroAccount();
    /// @notice The account was admitted before; if it is suspended, re-admit it.
    error AlreadyAdmitted(address account);
    /// @notice The account is not an active member.
    error NotActiveMember(address account);
    /// @notice Only a suspended member can be re-admitted.
    error NotSuspended(address account);
    /// @notice The consortium can hand its ownership over but not give it up: nobody could suspend a member again.
    error OwnershipCannotBeRenounced();
    /// @notice A name has 1 to `max` bytes.
    error BadNameLength(uint256 length, uint256 max);
    /// @notice An endpoint has at most `max` bytes.
    error EndpointTooLong(uint256 length, uint256 max);
    /// @notice Key material has 1 to `max` bytes.
    error BadMaterialLength(uint256 length, uint256 max);
    /// @notice An account publishes at most `max` keys.
    error TooManyKeys(address account, uint256 max);
    /// @notice The account published this key before; a key id is never published again.
    error KeyAlreadyPublished(address account, bytes32 keyId);
    /// @notice The account never published this key.
    error UnknownKey(address account, bytes32 keyId);
    /// @notice The time is before this block's: the past can't be changed.
    error Backdated(uint64 time, uint64 blockTime);
    /// @notice A period ends after it begins.
    error EmptyPeriod(uint64 from, uint64 until);
    /// @notice The key already ends at `current`, which `until` is not earlier than.
    error NotEarlier(uint64 until, uint64 current);

    /// @notice Admits an account that was never a member. Only the consortium.
    /// @param account The member's ledger account
    /// @param name The organisation's name, 1 to 128 bytes of UTF-8
    function admit(address account, string calldata name) external;

    /// @notice Suspends an active member from this block's time on. Only the consortium.
    /// @param account The member's ledger account
    function suspend(address account) external;

    /// @notice Admits a suspended member again from this block's time on. Only the consortium.
    /// @param account The member's ledger account
    function readmit(address account) external;

    /// @notice Publishes one of the caller's public keys. Only an active member; at most 256 keys an account.
    /// @param use What the key is for
    /// @param material The public key, 1 to 4096 bytes
    /// @param from When it becomes valid: this block's time or later; 0 = this block's time
    /// @param until When it stops being valid, after `from`; 0 = open-ended
    /// @return keyId SHA-256 of `material`: the RFC 7638 thumbprint of a JWK in canonical form
    function publishKey(KeyUse use, bytes calldata material, uint64 from, uint64 until) external returns (bytes32 keyId);

    /// @notice Ends the validity of one of the caller's keys, earlier than it would end otherwise. A suspended member
    /// can still do so: a stolen key must not outlive a dispute.
    /// @param keyId The key
    /// @param until Its new end: this block's time or later, before any end already set; 0 = this block's time
    function retireKey(bytes32 keyId, uint64 until) external;

    /// @notice Sets where the caller's node is reached. Only an active member.
    /// @param endpoint A URL of at most 512 bytes; empty = none
    function setEndpoint(string calldata endpoint) external;

    /// @notice Whether an account is a member now (one storage read).
    /// @param account The account
    /// @return Whether it is active
    function isActive(address account) external view returns (bool);

    /// @notice Whether an account was a member at a time.
    /// @param account The account
    /// @param time Unix seconds; for a time still to come, the answer as things stand now
    /// @return Whether a membership period holds `time`
    function wasActiveAt(address account, uint64 time) external view returns (bool);

    /// @notice What the directory says about a member.
    /// @param account The account
    /// @return The member; all zeros for an account never admitted
    function memberOf(address account) external view returns (Member memory);

    /// @notice The periods of an account's membership, oldest first, disjoint.
    /// @param account The account
    /// @return The periods; only the last can be open-ended
    function periodsOf(address account) external view returns (Period[] memory);

    /// @notice How many accounts were ever admitted.
    /// @return The number of members, suspended ones included
    function memberCount() external view returns (uint256);

    /// @notice A page of the members' accounts, in the order of their admission, suspended ones included.
    /// @param offset How many to leave out
    /// @param limit How many to return at most
    /// @return The accounts; fewer than `limit` at the end of the list
    function members(uint256 offset, uint256 limit) external view returns (address[] memory);

    /// @notice A key as published by an account.
    /// @param account The account
    /// @param keyId The key
    /// @return The key; all zeros when the account never published it
    function keyOf(address account, bytes32 keyId) external view returns (Key memory);

    /// @notice The ids of all keys an account ever published, oldest first.
    /// @param account The account
    /// @return The key ids, at most 256
    function keyIdsOf(address account) external view returns (bytes32[] memory);

    /// @notice Whether a key's own period holds a time. Membership is asked apart, by `wasActiveAt`.
    /// @param account The account
    /// @param keyId The key
    /// @param time Unix seconds; for a time still to come, the answer as things stand now
    /// @return Whether `from` <= `time` < `until`
    function keyValidAt(address account, bytes32 keyId, uint64 time) external view returns (bool);
}
