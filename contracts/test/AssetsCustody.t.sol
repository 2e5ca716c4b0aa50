// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAssets} from "../src/interfaces/IAssets.sol";
import {AssetsFixture} from "./helpers/AssetsFixture.sol";

/// @notice Custody moves by an offer and its acceptance.
contract AssetsCustodyTest is AssetsFixture {
    function test_Accept_MovesCustody() public {
        uint256 id = _lot(mine, 5, 0);
        vm.expectEmit(address(assets));
        emit IAssets.Offered(id, mine, fab, TRANSFER);
        _offer(id, mine, fab, TRANSFER);
        _offerIs(id, fab, TRANSFER);
        equal(assets.holderOf(id), mine, "an offer alone moves nothing");
        vm.expectEmit(address(assets));
        emit IAssets.Accepted(id, mine, fab, TRANSFER, RECEIPT);
        vm.prank(fab);
        assets.accept(id, TRANSFER, RECEIPT);
        _isLive(id, fab, 5, 0);
        _offerIs(id, address(0), 0);
        equal(assets.assetOf(id).maker, mine, "the maker stays");
        _refused(mine, IAssets.NotHolder.selector, id, mine);
        assets.offer(id, shop, 0);
    }

    function test_Reject_LeavesCustody() public {
        uint256 id = _lot(mine, 5, 0);
        _offer(id, mine, fab, TRANSFER);
        vm.expectEmit(address(assets));
        emit IAssets.Rejected(id, mine, fab, TRANSFER, RECEIPT);
        vm.prank(fab);
        assets.reject(id, TRANSFER, RECEIPT);
        _isLive(id, mine, 5, 0);
        _offerIs(id, address(0), 0);
        _give(id, mine, shop);
    }

    function test_Withdraw_LeavesCustodyAndNothingToAccept() public {
        uint256 id = _lot(mine, 5, 0);
        _offer(id, mine, fab, TRANSFER);
        vm.expectEmit(address(assets));
        emit IAssets.Withdrawn(id, mine, fab, TRANSFER);
        vm.prank(mine);
        assets.withdraw(id);
        _offerIs(id, address(0), 0);
        _refused(fab, IAssets.NoOffer.selector, id);
        assets.accept(id, TRANSFER, RECEIPT);
        _refused(fab, IAssets.NoOffer.selector, id);
        assets.reject(id, TRANSFER, RECEIPT);
        _refused(mine, IAssets.NoOffer.selector, id);
        assets.withdraw(id);
        _isLive(id, mine, 5, 0);
    }

    function test_Offer_OnlyByTheHolderOfALiveAsset() public {
        uint256 id = _lot(mine, 5, 0);
        _refused(fab, IAssets.NotHolder.selector, id, fab);
        assets.offer(id, shop, 0);
        _refused(mine, IAssets.NotLive.selector, 9, uint256(IAssets.State.Unknown));
        assets.offer(9, fab, 0);
        directory.suspend(mine);
        _refused(mine, IAssets.NotActiveMember.selector, mine);
        assets.offer(id, fab, 0);
    }

    function test_Offer_OnlyToAnotherActiveMember() public {
        uint256 id = _lot(mine, 5, 0);
        _refused(mine, IAssets.NotActiveMember.selector, outsider);
        assets.offer(id, outsider, 0);
        _refused(mine, IAssets.NotActiveMember.selector, address(0));
        assets.offer(id, address(0), 0);
        _refused(mine, IAssets.OfferToHolder.selector, id, mine);
        assets.offer(id, mine, 0);
        directory.suspend(fab);
        _refused(mine, IAssets.NotActiveMember.selector, fab);
        assets.offer(id, fab, 0);
    }

    function test_Offer_HoldsTheAssetUntilTheAnswer() public {
        uint256 lot = _lot(mine, 5, 0);
        uint256 pallet = _bundle(mine, _ids(_lot(mine, 1, 0)));
        _offer(lot, mine, fab, 0);
        _offer(pallet, mine, fab, 0);
        _refused(mine, IAssets.OfferIsOpen.selector, lot, fab);
        assets.offer(lot, shop, 0);
        _refused(mine, IAssets.OfferIsOpen.selector, lot, fab);
        assets.split(lot, _parts(1, 4, 0, 0));
        _refused(mine, IAssets.OfferIsOpen.selector, lot, fab);
        assets.transform(_ids(lot), _specs(1, 1, 0));
        _refused(mine, IAssets.OfferIsOpen.selector, lot, fab);
        assets.bundle(_ids(lot), "here");
        _refused(mine, IAssets.OfferIsOpen.selector, pallet, fab);
        assets.unbundle(pallet);
        vm.prank(mine);
        assets.link(_ids(lot), proofs[1]);
    }

    function test_Answer_OnlyByWhomItIsOfferedTo() public {
        uint256 id = _lot(mine, 5, 0);
        _offer(id, mine, fab, 0);
        _refused(shop, IAssets.NotOfferedTo.selector, id, shop);
        assets.accept(id, 0, 0);
        _refused(mine, IAssets.NotOfferedTo.selector, id, mine);
        assets.accept(id, 0, 0);
        _refused(shop, IAssets.NotOfferedTo.selector, id, shop);
        assets.reject(id, 0, 0);
        _refused(fab, IAssets.NotHolder.selector, id, fab);
        assets.withdraw(id);
        directory.suspend(fab);
        _refused(fab, IAssets.NotActiveMember.selector, fab);
        assets.accept(id, 0, 0);
        _refused(fab, IAssets.NotActiveMember.selector, fab);
        assets.reject(id, 0, 0);
        _isLive(id, mine, 5, 0);
    }

    function test_Answer_NamesTheTransferThatWasSeen() public {
        uint256 id = _lot(mine, 5, 0);
        _offer(id, mine, fab, TRANSFER);
        // Between the recipient's look and its answer the holder swaps the offer for another one.
        vm.prank(mine);
        assets.withdraw(id);
        _offer(id, mine, fab, REASON);
        vm.expectRevert(abi.encodeWithSelector(IAssets.OtherTransfer.selector, id, REASON));
        vm.prank(fab);
        assets.accept(id, TRANSFER, RECEIPT);
        vm.expectRevert(abi.encodeWithSelector(IAssets.OtherTransfer.selector, id, REASON));
        vm.prank(fab);
        assets.reject(id, TRANSFER, RECEIPT);
    }

    function test_Answer_ToATransferNamesAReceipt() public {
        uint256 id = _lot(mine, 5, 0);
        _offer(id, mine, fab, TRANSFER);
        _refused(fab, IAssets.NoReceipt.selector, id);
        assets.accept(id, TRANSFER, 0);
        _refused(fab, IAssets.NoReceipt.selector, id);
        assets.reject(id, TRANSFER, 0);
        vm.prank(fab);
        assets.reject(id, TRANSFER, RECEIPT);
        _offer(id, mine, fab, 0);
        _offerIs(id, fab, 0);
        vm.prank(fab);
        assets.accept(id, 0, 0);
        equal(assets.holderOf(id), fab, "goods alone need none");
    }

    function test_ASuspendedHolderKeepsItsGoodsButAnOfferStands() public {
        uint256 kept = _lot(mine, 5, 0);
        uint256 offered = _lot(mine, 5, 0);
        _offer(offered, mine, fab, TRANSFER);
        directory.suspend(mine);
        _refused(mine, IAssets.NotActiveMember.selector, mine);
        assets.withdraw(offered);
        vm.prank(fab);
        assets.accept(offered, TRANSFER, RECEIPT);
        equal(assets.holderOf(offered), fab, "offered before");
        equal(assets.holderOf(kept), mine, "kept");
    }

    function testFuzz_OnlyWhomItIsOfferedToMovesIt(uint256 seed, bytes32 transfer, bytes32 receipt) public {
        address[5] memory actors = [mine, fab, shop, lab, outsider];
        uint256 id = _lot(mine, 5, 0);
        _offer(id, mine, fab, TRANSFER);
        address who = actors[seed % 5];
        vm.prank(who);
        try assets.accept(id, seed % 2 == 0 ? TRANSFER : transfer, receipt) {
            isTrue(who == fab && receipt != 0 && (seed % 2 == 0 || transfer == TRANSFER), "moved against the rules");
            equal(assets.holderOf(id), fab, "holder");
        } catch {
            equal(assets.holderOf(id), mine, "holder");
        }
    }

    function _offerIs(uint256 id, address to, bytes32 transfer) private view {
        (address actualTo, bytes32 actual) = assets.offerOf(id);
        equal(actualTo, to, "offered to");
        equal(actual, transfer, "transfer");
    }
}
