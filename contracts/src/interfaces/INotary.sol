// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDirectory} from "./IDirectory.sol";

/// @title The notary: members anchor the roots of Merkle batches of their statements, and revoke statements
/// @notice A batch is an RFC 9162 Merkle tree over SHA-256 whose leaves are the 32-byte digests of statements. An
/// anchor belongs to the member that made it: it is keyed by (member, root, size), so that nobody can spoil or own
/// somebody else's (see docs/adr/0001-anchors-per-member.md). An anchor, once made, never changes.
/// @dev Views answer for what was never recorded with zeros; `verify` reverts instead.
interface INotary {
    /// @notice A member anchored a batch of `size` statements under `root`.
    event Anchored(address indexed member, bytes32 indexed root, uint64 size);
    /// @notice A member revoked one of its statements as of `effective`; `revocation` is the digest of the
    /// revocation statement that says why.
    event Revoked(address indexed member, bytes32 indexed digest, uint64 effective, bytes32 revocation);

    /// @notice The Directory address given at deployment holds no code.
    error DirectoryHasNoCode(address directory);
    /// @notice The account is not an active member of the Directory.
    error NotActiveMember(address account);
    /// @notice A batch holds at least one statement.
    error EmptyBatch();
    /// @notice The member anchored this batch before.
    error AlreadyAnchored(address member, bytes32 root, uint64 size);
    /// @notice The member never anchored such a batch.
    error NotAnchored(address member, bytes32 root, uint64 size);
    /// @notice The member revoked this statement before.
    error AlreadyRevoked(address member, bytes32 digest);
    /// @notice A revocation names the statement that says why.
    error NoRevocationStatement();
    /// @notice A tree of `size` leaves has no leaf `index`.
    error IndexOutOfRange(uint64 index, uint64 size);
    /// @notice The audit path of leaf `index` in a tree of `size` leaves does not have `length` hashes.
    error WrongPathLength(uint64 index, uint64 size, uint256 length);
    /// @notice The path leads from the leaf to another root.
    error RootMismatch(bytes32 computed, bytes32 expected);

    /// @notice Anchors a batch under the caller's account. Only an active member; once for each (root, size).
    /// @param root The root of the batch's Merkle tree
    /// @param size How many statements it holds, at least 1
    function anchor(bytes32 root, uint64 size) external;

    /// @notice Revokes a statement that one of the caller's own batches includes. Only an active member; once, and for
    /// good.
    /// @param digest The statement's SHA-256 digest
    /// @param effective From when it counts as revoked, Unix seconds; may be past or to come; 0 = this block's time
    /// @param revocation The SHA-256 digest of the revocation statement, not zero
    /// @param root The root of the caller's batch
    /// @param size That batch's size
    /// @param index The statement's position in it, from 0
    /// @param path Its audit path, leaf side first
    function revoke(
        bytes32 digest,
        uint64 effective,
        bytes32 revocation,
        bytes32 root,
        uint64 size,
        uint64 index,
        bytes32[] calldata path
    ) external;

    /// @notice The Directory that says who may write.
    /// @return The contract
    function directory() external view returns (IDirectory);

    /// @notice When a member anchored a batch.
    /// @param member The account that anchored it
    /// @param root Its root
    /// @param size Its size
    /// @return blockNumber The block of the anchor; 0 = never anchored
    /// @return time That block's time, Unix seconds
    function anchorOf(address member, bytes32 root, uint64 size) external view returns (uint64 blockNumber, uint64 time);

    /// @notice Checks that a statement is in a batch that a member anchored, by RFC 9162, section 2.1.3.2. Reverts
    /// with the reason when it is not.
    /// @param member The account that anchored the batch
    /// @param root The batch's root
    /// @param size The batch's size
    /// @param index The statement's position, from 0
    /// @param digest The statement's SHA-256 digest
    /// @param path Its audit path, leaf side first
    /// @return blockNumber The block of the anchor
    /// @return time That block's time, Unix seconds
    function verify(address member, bytes32 root, uint64 size, uint64 index, bytes32 digest, bytes32[] calldata path)
        external
        view
        returns (uint64 blockNumber, uint64 time);

    /// @notice What a member said about revoking a statement. Ask for the statement's issuer: another account's
    /// revocation of the same digest says nothing.
    /// @param member The account that issued the statement
    /// @param digest The statement's SHA-256 digest
    /// @return effective From when it counts as revoked, Unix seconds
    /// @return time When the revocation was recorded; 0 = not revoked
    /// @return revocation The digest of the revocation statement
    function revocationOf(address member, bytes32 digest)
        external
        view
        returns (uint64 effective, uint64 time, bytes32 revocation);
}
