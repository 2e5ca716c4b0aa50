// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Notary} from "../src/Notary.sol";
import {NotaryHandler} from "./helpers/NotaryHandler.sol";
import {Test} from "./helpers/Test.sol";

contract NotaryInvariantTest is Test {
    NotaryHandler private handler;
    Notary private notary;

    function setUp() public {
        handler = new NotaryHandler();
        notary = handler.notary();
    }

    /// @dev Read by forge: whom to call at random.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev The handler checks at each call that only active members wrote.
    function invariant_TheFirstAnchorNeverChanges() public view {
        (uint256 count,) = handler.counts();
        for (uint256 i = 0; i < count; ++i) {
            (address who, bytes32 root, uint64 size, uint64 number, uint64 time) = handler.made(i);
            (uint64 blockNumber, uint64 anchored) = notary.anchorOf(who, root, size);
            equal(blockNumber, number, "block");
            equal(anchored, time, "time");
        }
    }

    function invariant_ARevocationNeverChanges() public view {
        (, uint256 count) = handler.counts();
        for (uint256 i = 0; i < count; ++i) {
            (address who, bytes32 digest, uint64 effective, uint64 time, bytes32 reason) = handler.revoked(i);
            (uint64 from, uint64 recorded, bytes32 revocation) = notary.revocationOf(who, digest);
            equal(from, effective, "effective");
            equal(recorded, time, "time");
            equal(revocation, reason, "revocation");
        }
    }

    function invariant_OnlyTheIssuerRevokes() public view {
        (address[] memory accounts, bytes32[] memory digests) = handler.universe();
        for (uint256 i = 0; i < accounts.length; ++i) {
            for (uint256 j = 0; j < digests.length; ++j) {
                (, uint64 time,) = notary.revocationOf(accounts[i], digests[j]);
                isTrue((time != 0) == handler.isRevoked(accounts[i], digests[j]), "revoked by somebody else");
            }
        }
    }
}
